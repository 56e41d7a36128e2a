"""A process that is killed in the middle takes its children with it, and leaves nothing that the next one keeps."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from blocks.postgres.scratch import PREFIX, scratch_folder
from tests.blocks.platforms.waiting import eventually
from tests.blocks.postgres.workshop import Workshop
from tests.ended import have_ended

DUMPING = """
import os, sys, threading
from pathlib import Path
from blocks.postgres.connection import libpq_environment
from blocks.postgres.dump import Dump
from blocks.postgres.programs import find_programs_for
from blocks.postgres.scratch import scratch_folder

class Stuck:
    def take_large(self, name, chunks):
        next(chunks)
        threading.Event().wait()

    def take_small(self, files):
        for _ in files: pass

with scratch_folder("dump") as folder, libpq_environment(os.environ["URL"], "test") as environment:
    Dump(folder / "archive", Stuck()).run(find_programs_for(18, 18), environment, [])
"""
SERVING = """
import threading
from blocks.postgres.programs import find_programs_for
from blocks.postgres.throwaway import throwaway_server

with throwaway_server(find_programs_for(18, 18)) as url:
    print(url, flush=True)
    threading.Event().wait()
"""


@contextmanager
def process(script: str, **variables: str) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", script], env=os.environ | variables, stdout=subprocess.PIPE, text=True
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def below(started: "subprocess.Popen[str]", enough: Callable[[list[psutil.Process]], bool]) -> list[psutil.Process]:
    """Its children and theirs, once they are enough."""
    found: list[psutil.Process] = []

    def look() -> bool:
        found[:] = psutil.Process(started.pid).children(recursive=True)
        return enough(found)

    eventually(look)
    return found


def make_old(folder: Path) -> None:
    """As if its owner had died long ago."""
    for left in folder.glob(f"{PREFIX}*"):
        os.utime(left, (time.time() - 60,) * 2)


def assert_swept(folder: Path) -> None:
    assert list(folder.glob(f"{PREFIX}*"))
    make_old(folder)
    with scratch_folder("next", str(folder)) as own:
        assert list(folder.glob(f"{PREFIX}*")) == [own]


@pytest.mark.parametrize("state", ["stopped", "working"])
def test_pg_dump_and_its_workers_end_with_a_run_that_is_killed(workshop: Workshop, tmp_path: Path, state: str) -> None:
    workshop.fill(300 if state == "working" else 100)
    place = tmp_path / "killed"
    place.mkdir()
    with process(DUMPING, URL=workshop.server.url(workshop.database), TMPDIR=str(place)) as started:
        is_stopped = state == "stopped"
        children = below(
            started,
            lambda found: (
                len(found) == 3
                and any(one.status() == psutil.STATUS_STOPPED for one in found) >= is_stopped
                and any(path.stat().st_size > 4 << 20 for path in place.rglob("*.dat"))
            ),
        )
        started.send_signal(signal.SIGKILL)
        started.wait()
        eventually(lambda: have_ended(*children))
    assert_swept(place)


def test_a_throwaway_server_ends_with_a_run_that_is_killed(temporary: Path) -> None:
    with process(SERVING) as started:
        assert started.stdout
        url = started.stdout.readline()
        folder = Path(url.partition("host=")[2].strip().replace("%2F", "/"))
        assert folder.is_dir()
        children = below(started, lambda found: len(found) > 3)
        started.send_signal(signal.SIGKILL)
        started.wait()
        eventually(lambda: have_ended(*children))
    os.utime(folder, (time.time() - 60,) * 2)
    with scratch_folder("next", str(folder.parent)):
        assert not folder.exists()


def test_the_folder_of_a_live_process_is_never_swept(tmp_path: Path) -> None:
    with scratch_folder("mine", str(tmp_path)) as mine:
        make_old(tmp_path)
        with scratch_folder("next", str(tmp_path)):
            assert mine.is_dir()
    assert list(tmp_path.iterdir()) == []
