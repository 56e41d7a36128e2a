"""A program that is alone sees nobody else, and whatever it started ends with it."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from blocks import alone
from blocks.cut_off import CannotCutOff, cut_off
from blocks.surroundings import BARE
from tests.blocks.platforms.waiting import eventually

PROGRAM = """
import os, pathlib, subprocess, sys, psutil
sleeper = subprocess.Popen(["sleep", sys.argv[2]], start_new_session=True)
seen = sorted(psutil.pids())
pathlib.Path(sys.argv[1]).write_text(f"{os.getpid()} {seen == [1, sleeper.pid]} {os.listdir('/dev/shm')}")
sleeper.wait()
"""
KEEPER = """
import sys
from blocks.cut_off import cut_off
command = [sys.executable, "-P", "-m", "blocks.alone", *sys.argv[1:]]
with cut_off(command, 8080, {"PATH": "/usr/bin:/bin"}, "/") as (_, child):
    child.process.wait()
    sys.exit(child.read_complaint())
"""
SECONDS = "86401.5"
"""Nobody else sleeps for so long."""


def sleepers() -> list[psutil.Process]:
    return [one for one in psutil.process_iter(["cmdline"]) if (one.info["cmdline"] or [])[1:] == [SECONDS]]


def test_it_sees_itself_alone_and_what_left_its_session_ends_with_it(tmp_path: Path) -> None:
    said = tmp_path / "said"
    command = [sys.executable, "-P", "-m", alone.__name__, sys.executable, "-c", PROGRAM, str(said), SECONDS]
    try:
        with cut_off(command, 8080, {**BARE, "TMPDIR": str(tmp_path)}, "/") as (_, child):
            eventually(lambda: (said.exists() and said.read_text()) or not child.is_running())
            if alone.CANNOT in child.read_complaint() and os.geteuid() != 0:
                pytest.skip(child.read_complaint())
            assert said.read_text() == "1 True []", child.read_complaint()
            assert len(sleepers()) == 1
    except CannotCutOff as error:
        if os.geteuid() == 0:
            raise
        pytest.skip(f"No user namespaces here: {error}")
    eventually(lambda: sleepers() == [])


def test_it_ends_when_we_are_killed(tmp_path: Path) -> None:
    said = tmp_path / "said"
    program = [sys.executable, "-c", PROGRAM, str(said), SECONDS]
    with subprocess.Popen([sys.executable, "-c", KEEPER, *program], stderr=subprocess.PIPE, text=True) as keeper:
        eventually(lambda: said.exists() or keeper.poll() is not None)
        if keeper.poll() is not None and os.geteuid() != 0 and keeper.stderr:
            pytest.skip(keeper.stderr.read())
        assert len(sleepers()) == 1
        keeper.kill()
    eventually(lambda: sleepers() == [])
