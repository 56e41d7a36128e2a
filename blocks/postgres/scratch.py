"""Folders for what lies on the disk for a while. One whose process was killed is removed with the next one."""

import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from blocks.errors import BackstopError

PREFIX = "backstop-scratch-"
_SWEPT_AFTER_SECONDS = 30
"""A younger one may be about to be locked by who made it."""


@contextmanager
def scratch_folder(purpose: str, place: str = "") -> Iterator[Path]:
    """Empty, mode 0700, below `place` (else the system's folder for such things); gone afterwards.

    Raises BackstopError where there is no room, when it is made or later.
    """
    place = place or tempfile.gettempdir()
    _sweep(Path(place))
    with (
        _told_when_full(place),
        tempfile.TemporaryDirectory(prefix=f"{PREFIX}{purpose}-", dir=place, ignore_cleanup_errors=True) as name,
    ):
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield Path(name).resolve()
        finally:
            os.close(descriptor)


@contextmanager
def _told_when_full(place: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise BackstopError(f"No space left on device: {place} is full.", "Make room there, or set TMPDIR.") from None


def _sweep(place: Path) -> None:
    """The kernel gives up a dead process's locks."""
    for folder in place.glob(f"{PREFIX}*"):
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if time.time() - os.fstat(descriptor).st_mtime > _SWEPT_AFTER_SECONDS:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)
