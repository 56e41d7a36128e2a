"""Runs are forked from one process that has everything imported, and live as long as who began them does."""

import base64
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from deployments.apply import ROOT
from deployments.begin_run import ADDRESS
from tests.blocks.platforms.waiting import eventually
from tests.ended import have_ended
from tests.tasks.small_service import SmallService, hang

WITHIN = 60
PACKAGES = ("blocks", "tasks", "flows", "deployments")
LOGIN = "somebody:secret-word"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, which a test may change."""
    folder = tmp_path_factory.mktemp("checkout")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "shop"))
    shutil.copytree(ROOT / "deployments" / "shop", folder / "deployments" / "shop")
    shutil.copy(ROOT / "prefect.yaml", folder)
    return folder


@dataclass
class Starter:
    """A run starter, and runs that never get an answer from Prefect's API."""

    process: "subprocess.Popen[bytes]"
    variables: dict[str, str]
    checkout: Path
    service: SmallService

    @contextmanager
    def beginning(self, folder: Path) -> Iterator["subprocess.Popen[str]"]:
        """A run that has asked for its particulars, and is not told them."""
        run_id = str(uuid4())
        path = f"/api/flow_runs/{run_id}"
        self.service.answers[f"GET {path}"] = hang
        with self.begin(folder, PREFECT__FLOW_RUN_ID=run_id, PREFECT_API_AUTH_STRING=LOGIN) as begun:
            eventually(lambda: any(asked.path == path for asked in self.service.requests), WITHIN)
            yield begun

    @contextmanager
    def begin(self, folder: Path, **variables: str) -> Iterator["subprocess.Popen[str]"]:
        command = [sys.executable, "-m", "deployments.begin_run"]
        own = {**self.variables, "PYTHONPATH": str(self.checkout), **variables}
        begun = subprocess.Popen(
            command, cwd=folder, env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        with begun:
            try:
                yield begun
            finally:
                begun.kill()

    @property
    def forks(self) -> list[psutil.Process]:
        """Keepers, and the processes of runs."""
        return psutil.Process(self.process.pid).children(recursive=True)


@contextmanager
def running_starter(checkout: Path, folder: Path) -> Iterator[Starter]:
    with SmallService({}) as service:
        variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "BACKSTOP"))},
            **{"BACKSTOP_STATE": str(folder), "PREFECT_HOME": str(folder / "prefect")},
            **{"PREFECT_API_URL": f"{service.url}/api", "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false"},
        }
        command = [sys.executable, "-m", "deployments.run_starter"]
        with subprocess.Popen(command, cwd=checkout, env=variables) as process:
            starter = Starter(process, variables, checkout, service)
            try:
                eventually((folder / ADDRESS).exists, WITHIN)
                yield starter
            finally:
                process.kill()


@pytest.fixture(scope="module")
def starter(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    with running_starter(checkout, tmp_path_factory.mktemp("state")) as starter:
        yield starter


@pytest.fixture
def own_starter(checkout: Path, tmp_path: Path) -> Iterator[Starter]:
    with running_starter(checkout, tmp_path) as starter:
        yield starter


def test_a_run_is_a_fork_with_the_folder_variables_and_end_that_it_would_have_had(
    starter: Starter, tmp_path: Path
) -> None:
    with starter.beginning(tmp_path) as begun:
        keeper, run = starter.forks
        assert run.parent() == keeper
        assert psutil.Process(begun.pid).children() == []
        assert run.cwd() == str(tmp_path)
        asked = next(one for one in starter.service.requests if "flow_runs" in one.path)
        assert asked.headers["Authorization"] == f"Basic {base64.b64encode(LOGIN.encode()).decode()}"
        begun.send_signal(signal.SIGTERM)
        assert begun.wait(WITHIN) == -signal.SIGTERM
    eventually(lambda: starter.forks == [], WITHIN)


def test_what_it_says_and_its_exit_code_arrive(starter: Starter, tmp_path: Path) -> None:
    with starter.begin(tmp_path, PREFECT__FLOW_RUN_ID="no run") as begun:
        output, _ = begun.communicate(timeout=WITHIN)
    assert (begun.returncode, "Invalid flow run id" in output) == (1, True), output
    eventually(lambda: starter.forks == [], WITHIN)


def test_several_at_once_do_not_wait_for_each_other(starter: Starter, tmp_path: Path) -> None:
    with starter.beginning(tmp_path), starter.beginning(tmp_path), starter.beginning(tmp_path):
        assert len(starter.forks) == 6
    eventually(lambda: starter.forks == [], WITHIN)


def test_a_run_whose_beginner_is_killed_is_killed(starter: Starter, tmp_path: Path) -> None:
    with starter.beginning(tmp_path) as begun:
        begun.kill()
        eventually(lambda: starter.forks == [], WITHIN)


def test_a_run_whose_starter_is_killed_is_killed_and_begun_as_if_there_had_never_been_one(
    own_starter: Starter, tmp_path: Path
) -> None:
    with own_starter.beginning(tmp_path) as begun:
        forks = own_starter.forks
        own_starter.process.kill()
        assert begun.wait(WITHIN) == 1
        eventually(lambda: have_ended(*forks), WITHIN)
    with own_starter.beginning(tmp_path) as begun:
        assert psutil.Process(begun.pid).cmdline()[-2:] == ["-m", "prefect.engine"]


def test_changed_code_is_what_the_next_run_has_and_breaks_none_that_goes_on(
    own_starter: Starter, tmp_path: Path
) -> None:
    changed = own_starter.checkout / "tasks" / "release.py"
    code = changed.read_text()
    with own_starter.beginning(tmp_path):
        forks = own_starter.forks
        changed.write_text("half a file (")
        with own_starter.beginning(tmp_path) as begun:
            assert psutil.Process(begun.pid).cmdline()[-2:] == ["-m", "prefect.engine"]
        assert own_starter.forks == forks
        changed.write_text(f"{code}\n# changed\n")
    eventually(lambda: forks_again(own_starter, tmp_path), WITHIN)


def forks_again(starter: Starter, folder: Path) -> bool:
    with starter.beginning(folder):
        return len(starter.forks) == 2
