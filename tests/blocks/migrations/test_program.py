"""How a tool's command is run: what it knows, what is told of it, and how it ends."""

import sys
from pathlib import Path
from urllib.parse import quote, quote_plus

import psutil
import pytest

from blocks.errors import Refused
from blocks.migrations.commands import MigrationCommands
from blocks.migrations.interface import Limits, MigrationFailed, Workspace
from blocks.migrations.program import run_program, without_secrets
from tests.blocks.migrations.project import PASSWORD
from tests.blocks.platforms.waiting import eventually
from tests.deployments.shop.processes import Postgres

URL = f"postgresql://me:{quote(PASSWORD, safe='')}@127.0.0.1:1/shop"


def python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def test_it_knows_nothing_of_the_workers_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SHOP_SECRET", "BACKSTOP_KEY", "PREFECT_API_AUTH_STRING", "PGPASSWORD", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "hunter2")
    answer = run_program(python("import os; print(dict(os.environ))"), tmp_path, {"MINE": "1"}, URL)
    assert answer.code == 0
    assert "'MINE': '1'" in answer.output
    assert "hunter2" not in answer.output


def test_it_runs_in_the_folder_and_finds_what_came_with_backstop(tmp_path: Path) -> None:
    assert run_program(["pwd"], tmp_path, {}, URL).output.strip() == str(tmp_path)
    assert run_program(["alembic", "--version"], tmp_path, {}, URL).code == 0


@pytest.mark.parametrize("command", [["no-such-program"], ["./no-such-program"], ["/no/such/program"]])
def test_a_program_that_is_not_there(tmp_path: Path, command: list[str]) -> None:
    with pytest.raises(Refused, match=r"is not there.*Nothing was changed"):
        run_program(command, tmp_path, {}, URL)


def test_one_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    script = "import subprocess, time; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); time.sleep(60)"
    answer = run_program(python(script), tmp_path, {}, URL, seconds=1)
    assert answer.code is None
    assert "in time" in answer.reason()
    eventually(lambda: not psutil.pid_exists(int(answer.output)))


@pytest.mark.parametrize(
    "spelling", [PASSWORD, quote(PASSWORD), quote(PASSWORD, safe=""), quote_plus(PASSWORD), repr(PASSWORD)[1:-1], URL]
)
def test_the_password_is_struck_out_however_it_is_written(spelling: str) -> None:
    assert without_secrets(f"error: <{spelling}>", URL) == "error: <…>"


def test_what_is_shown_of_its_complaint_is_bounded(tmp_path: Path) -> None:
    answer = run_program(python("import sys; sys.exit('Error: ' + 'x' * 100_000)"), tmp_path, {}, URL)
    assert answer.code == 1
    assert len(answer.reason()) < 1000


def test_variables_may_be_references_and_packages_are_made_ready(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN_OF_THE_REGISTRY", "hunter2")
    fetch = "import os; open('fetched', 'w').write(os.environ['TOKEN'] + os.environ.get('DATABASE_URL', ''))"
    tool = MigrationCommands(
        preparation=python(fetch),
        variables={"TOKEN": "${TOKEN_OF_THE_REGISTRY}"},
        show_command=python("print('[X] 1 First1'); print('[ ] Second2')"),
    )
    workspace = Workspace(tmp_path, postgres.url())
    tool.prepare(workspace)
    assert (tmp_path / "fetched").read_text() == "hunter2"
    status = tool.read_status(workspace)
    assert (status.applied, [one.id for one in status.pending]) == (["First1"], ["Second2"])
    with pytest.raises(Refused, match="made ready"):
        MigrationCommands(preparation=["false"]).prepare(workspace)


def test_a_way_down_that_takes_back_something_else_is_a_failure(tmp_path: Path, postgres: Postgres) -> None:
    listing = python("print('[X] 1 First1'); print('[X] 2 Second2')")
    tool = MigrationCommands(show_command=listing, revert_command=["true"])
    with pytest.raises(MigrationFailed, match="Second2"):
        tool.revert(Workspace(tmp_path, postgres.url()), "First1", Limits())
    without = MigrationCommands(show_command=listing, revert_command=[])
    with pytest.raises(Refused, match="no command for the way down"):
        without.revert(Workspace(tmp_path, postgres.url()), "First1", Limits())
