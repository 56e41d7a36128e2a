"""What a killed process kept in scratch folders is gone; what a living one keeps is not."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from blocks.custodian import remove_free_folders
from blocks.postgres.scratch import scratch_folder
from tests.blocks.platforms.waiting import eventually

KEEPER = """
import sys, time
from blocks.custodian import custody
from blocks.postgres.scratch import scratch_folder
with custody(), scratch_folder("kept") as folder:
    (folder / "secret").write_text("x")
    print(folder, flush=True)
    sys.stdin.read()
"""


@contextmanager
def keeper(place: Path) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    """A process, and the folder that it keeps in custody."""
    command = [sys.executable, "-c", KEEPER]
    variables = {"TMPDIR": str(place), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


@pytest.mark.parametrize("end", ["killed", "ended"])
def test_whatever_ends_it_its_folder_and_its_custodian_are_gone(tmp_path: Path, end: str) -> None:
    with keeper(tmp_path) as (process, folder):
        (custodian,) = psutil.Process(process.pid).children()
        assert (folder / "secret").exists()
        if end == "killed":
            process.kill()
        else:
            assert process.stdin
            process.stdin.close()
        process.wait(10)
        eventually(lambda: not folder.exists())
        eventually(lambda: not custodian.is_running())


def test_a_folder_that_somebody_holds_stays(tmp_path: Path) -> None:
    with scratch_folder("held", str(tmp_path)) as held:
        free = held.with_name(f"{held.name}-free")
        free.mkdir()
        other = tmp_path / "somebody-elses"
        other.mkdir()
        remove_free_folders([tmp_path])
        assert held.exists()
        assert not free.exists()
        assert other.exists()
