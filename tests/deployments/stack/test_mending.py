"""`backstop up` after a crash: what is dead is started anew, what lives is left alone."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest

from deployments.stack.layout import NAMES
from deployments.stack.postgres_home import PostgresHome
from deployments.stack.processes import is_alive
from deployments.stack.record import Launched
from tests.running_stack import WITHIN, RunningStack

OFTEN = ("postgres", "server", "worker", "shop-production")
"""Parts that are killed in every run of the tests: what the others rest on, and what users reach."""


def kill(stack: RunningStack, *names: str) -> None:
    for name in names:
        launched = stack.components[name]
        os.kill(launched.pid, signal.SIGKILL)
        wait_until(partial(_is_dead, launched))


def _is_dead(launched: Launched) -> bool:
    return not is_alive(launched)


def _is_let_through(pid: int) -> bool:
    return not any(word.endswith("gate.py") for word in psutil.Process(pid).cmdline())


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN
    while not is_so():
        assert time.monotonic() < deadline, "it never became so"
        time.sleep(0.02)


def shop_answers(stack: RunningStack) -> bool:
    return httpx.get(f"{stack.layout.front_url('production')}/health/detailed", timeout=5).is_success


@pytest.mark.parametrize(
    "name", [name if name in OFTEN else pytest.param(name, marks=pytest.mark.drill) for name in NAMES]
)
def test_killed_part_is_started_anew_and_no_other(stack: RunningStack, name: str) -> None:
    before = stack.pids()
    kill(stack, name)
    assert stack.status()[name]["state"] == "dead"

    assert "Ready in" in stack.run("up")

    after = stack.pids()
    assert after.pop(name) != before.pop(name)
    assert after == before
    assert {part["state"] for part in stack.status().values()} == {"running"}
    assert shop_answers(stack)


def test_pid_file_that_names_a_stranger(stack: RunningStack) -> None:
    home = PostgresHome(stack.state)
    pid_file = home.data / "postmaster.pid"
    kept = pid_file.read_text().splitlines()
    kill(stack, "postgres")
    stranger = subprocess.Popen(["sleep", "600"], user=home.user, extra_groups=[] if home.user else None)
    try:
        pid_file.write_text("\n".join([str(stranger.pid), *kept[1:]]) + "\n")
        home.give(pid_file)
        stack.run("up")
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    assert shop_answers(stack)


def test_port_taken_by_somebody_else(stack: RunningStack) -> None:
    before, port = stack.pids(), stack.layout.ports["postgres"]
    kill(stack, "postgres")
    with socket.create_server(("127.0.0.1", port)):
        output = stack.run("up")
        assert stack.layout.ports["postgres"] != port
        assert shop_answers(stack)
    assert "what it depends on has changed" in output
    after = stack.pids()
    assert {name for name in NAMES if before[name] == after[name]} == {"redis", "visitors"}
    assert "Already up" in stack.run("up")


def test_port_taken_in_the_very_moment_of_the_start(stack: RunningStack) -> None:
    port = stack.layout.ports["redis"]
    kill(stack, "redis")
    script = Path(__file__).with_name("lose_a_port.py")
    done = subprocess.run(
        [sys.executable, str(script), str(stack.folder), "redis"],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WITHIN,
    )
    assert done.returncode == 0, done.stdout
    assert "Somebody else was faster at a port" in done.stdout
    assert stack.layout.ports["redis"] != port
    assert shop_answers(stack)


def test_two_at_once(stack: RunningStack) -> None:
    kill(stack, "redis")
    with stack.begin("up") as one, stack.begin("up") as other:
        outputs = [one.communicate(timeout=WITHIN)[0], other.communicate(timeout=WITHIN)[0]]
    assert (one.returncode, other.returncode) == (0, 0)
    assert sorted("Already up" in output for output in outputs) == [False, True]
    assert sorted("Waiting for it" in output for output in outputs) == [False, True]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_up_ended_in_the_middle(stack: RunningStack, number: signal.Signals, code: int) -> None:
    killed = stack.pids()["server"]
    kill(stack, "server")
    with stack.begin("up") as up:
        wait_until(lambda: stack.pids()["server"] != killed)
        wait_until(lambda: _is_let_through(stack.pids()["server"]))  # before that it ends with `up`
        up.send_signal(number)
        output, _ = up.communicate(timeout=WITHIN)
    assert up.returncode == code
    assert "Traceback" not in output
    begun = stack.pids()["server"]
    assert stack.status()["server"]["state"] == "starting"

    stack.run("up")

    assert stack.pids()["server"] == begun  # it was gone on with, not started twice
    assert stack.status()["server"]["state"] == "running"


def test_releases_of_a_killed_sandbox_go_on(stack: RunningStack) -> None:
    releases = [p.pid for p in psutil.Process(stack.pids()["shop-production"]).children()]
    assert releases
    kill(stack, "shop-production")
    stack.run("up")
    assert all(psutil.pid_exists(pid) for pid in releases)
