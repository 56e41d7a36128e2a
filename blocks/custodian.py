"""Clears away what a process leaves behind when it is killed: `python -P -m blocks.custodian PLACE…`

A process of its own that waits until the other end of its input is closed, which the kernel does however that process
ended. Scratch folders that nobody holds are then removed.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from blocks.postgres.scratch import PREFIX
from blocks.surroundings import BARE

_MADE_SECONDS = 5.0
"""Between a folder being made and being held lies less: one that is free for longer is nobody's."""


@contextmanager
def custody() -> Iterator[None]:
    """What this process keeps in scratch folders is gone some seconds after its death, also by SIGKILL."""
    places = sorted({tempfile.gettempdir(), "/tmp"})  # noqa: S108 (where throw-away servers lie)
    command = [sys.executable, "-P", "-m", "blocks.custodian", *places]
    with subprocess.Popen(
        command,
        env=BARE,
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # who kills our whole group shall not take it along
    ) as custodian:
        try:
            yield
        finally:
            custodian.kill()  # all folders are gone: each has its own way out


def remove_free_folders(places: Sequence[Path]) -> None:
    """Those of dead processes. The kernel gives up a dead process's locks."""
    found = [folder for place in places for folder in place.glob(f"{PREFIX}*")]
    free = [folder for folder in found if _is_free(folder)]
    time.sleep(_MADE_SECONDS if free else 0)
    for folder in free:
        with suppress(OSError), _held(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_free(folder: Path) -> bool:
    try:
        with _held(folder):
            return True
    except OSError:
        return False


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Raises OSError where somebody else holds it, or it is none of ours."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    remove_free_folders([Path(place) for place in sys.argv[1:]])
