"""Who lives and who died, with real processes."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from blocks.process_name import has_died, own_process_name
from tests.blocks.platforms.waiting import eventually

SAYS_ITS_NAME = (
    "import ctypes, sys; from blocks.process_name import own_process_name;"
    # So that /proc/PID/stat holds what looks like the end of the command's name.
    " ctypes.CDLL(None).prctl(15, b') S (x'); print(own_process_name(), flush=True); sys.stdin.read()"
)


@pytest.fixture
def other() -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", SAYS_ITS_NAME]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def read_name(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline().strip()


def test_one_that_lives_is_not_dead(other: "subprocess.Popen[str]") -> None:
    name = read_name(other)
    assert not has_died(name)
    assert not has_died(own_process_name())
    assert name != own_process_name()


def test_one_that_was_killed_is_dead_before_and_after_its_parent_saw_it(other: "subprocess.Popen[str]") -> None:
    name = read_name(other)
    other.kill()
    eventually(lambda: has_died(name))
    other.wait()
    assert has_died(name)


def test_another_process_under_the_same_number_is_another_one() -> None:
    boot, namespace, pid, started = own_process_name().split(" ")
    assert has_died(f"{boot} {namespace} {pid} {int(started) - 1}")


@pytest.mark.parametrize("name", ["", "another-boot pid:[1] 1 1"])
def test_what_cannot_be_told_from_here_counts_as_alive(name: str) -> None:
    assert not has_died(name)


def test_in_another_container_numbers_mean_nothing() -> None:
    boot, _, pid, started = own_process_name().split(" ")
    assert not has_died(f"{boot} pid:[1] {pid} {int(started) - 1}")
