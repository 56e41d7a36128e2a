"""`backstop down` ends what `backstop up` started, and nothing else."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from deployments.stack.component import Component
from deployments.stack.layout import NAMES_WITHOUT_SAMPLE
from deployments.stack.postgres_home import PostgresHome
from deployments.stack.processes import WaitingProcess, end, is_alive
from deployments.stack.record import Launched
from deployments.stack.state import State
from tests.ended import have_ended
from tests.running_stack import RunningStack


@contextmanager
def running(argv: list[str], **options: object) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(argv, **options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_all_of_it_and_nothing_else(stack: RunningStack, tmp_path: Path) -> None:
    everything = {p.pid for pid in stack.pids().values() for p in _family(pid)}
    redis_server = psutil.Process(stack.pids()["redis"]).exe()
    own = {"cwd": tmp_path, "stdout": subprocess.DEVNULL}
    left_behind = {**os.environ, "BACKSTOP_STACK": str(stack.folder)}
    with (
        running([redis_server, "--port", "0", "--unixsocket", "socket"], **own) as decoy,
        running(["sleep", "600"], env={**os.environ, "BACKSTOP_STACK": str(tmp_path)}) as of_another_stack,
        running(["sleep", "600"], env=left_behind) as orphan,
    ):
        assert "Down." in stack.run("down")
        assert have_ended(*everything)
        assert "database system is shut down" in stack.state.log("postgres").read_text().splitlines()[-1]
        assert (decoy.poll(), of_another_stack.poll()) == (None, None)
        assert orphan.wait(5) != 0

        assert stack.try_to_run("status")[0] == 1
        assert "Nothing was running." in stack.run("down")
        assert decoy.poll() is None


def test_releases_left_by_a_killed_sandbox_end_too(stack: RunningStack) -> None:
    sandbox = psutil.Process(stack.pids()["shop-production"])
    releases = [process.pid for process in sandbox.children()]
    sandbox.kill()
    assert not any(map(have_ended, releases))
    stack.run("down")
    assert have_ended(*releases)


def test_pid_that_was_used_again_is_left_alone(tmp_path: Path) -> None:
    with running(["sleep", "600"]) as stranger:
        born = psutil.Process(stranger.pid).create_time()
        launched = Launched(pid=stranger.pid, created=born - 60, fingerprint="", stop_signal=9, grace=1, address="")
        assert not is_alive(launched)
        end(launched)
        assert stranger.poll() is None
        end(launched.model_copy(update={"created": born}))
        assert stranger.wait(5) == -9


def test_process_that_will_not_end_is_killed_with_its_children(tmp_path: Path) -> None:
    stubborn = "trap '' TERM; sleep 600 & wait; wait"
    with running(["/bin/sh", "-c", f"{stubborn}"], start_new_session=True) as process:
        main = psutil.Process(process.pid)
        while not main.children():
            assert process.poll() is None
        children = [child.pid for child in main.children()]
        launched = Launched(
            pid=process.pid, created=main.create_time(), fingerprint="", stop_signal=15, grace=0.2, address=""
        )
        end(launched)
        assert process.wait(5) == -9
        assert have_ended(*children)


def test_process_whose_starter_died_never_begins(tmp_path: Path) -> None:
    state, made = State(tmp_path / "state"), tmp_path / "made"
    state.create()
    component = Component(name="toucher", argv=("touch", str(made)), is_ready=lambda began: True)

    abandoned = WaitingProcess(component, state)
    abandoned._process.communicate(timeout=5)  # closes its input, as the death of the starter does
    assert not made.exists()

    let_through = WaitingProcess(component, state)
    let_through.let_through()
    assert let_through._process.wait(5) == 0
    assert made.exists()


def test_purge_deletes_only_what_is_marked(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("of somebody else")
    foreign = RunningStack(tmp_path)
    assert "no stack here" in foreign.run("down", "--purge")
    code, output = foreign.try_to_run("up")
    assert code == 1
    assert "Nothing was changed." in output
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_purge_leaves_no_data(tmp_path: Path) -> None:
    # One of its own: others hold on to the passwords of the shared one.
    stack = RunningStack(tmp_path / "state")
    try:
        stack.run("up", "--bare")
        assert set(stack.components) == set(NAMES_WITHOUT_SAMPLE)
        data = PostgresHome(stack.state).folder
        assert data.is_dir()
    finally:
        stack.run("down", "--purge")
    assert not data.exists()
    assert not stack.folder.exists()


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
