"""A server older than the programs that read it, and one older than the backup."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.errors import Unmet
from blocks.postgres import programs
from blocks.postgres.programs import find_programs, find_programs_for
from blocks.postgres.restore import RestoreFailed
from tasks.restore import create_new_database, restore_into_new, verify_restored
from tasks.restore_plan import plan_restore, require_possible
from tests.databases.practice import Practice, practising, script_of_everything
from tests.deployments.shop.processes import running_postgres
from tests.ledger_database import LedgerDatabase

NEWEST = 18


INSTALLED = {one.major: one for one in find_programs() if (one.folder / "postgres").is_file()}


@pytest.fixture(params=[15, 16], ids=lambda major: f"PostgreSQL {major}")
def older(request: pytest.FixtureRequest, ledger: LedgerDatabase, tmp_path: Path, evidence: Path) -> Iterator[Practice]:
    found = INSTALLED.get(request.param)
    if not found:
        pytest.skip(f"no PostgreSQL {request.param} here")
    with (
        running_postgres(found.folder) as server,
        practising(ledger, server, tmp_path, script_of_everything(server)) as it,
    ):
        yield it


@pytest.fixture
def only_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a worker that has the programs of one version."""
    newest = find_programs_for(NEWEST)
    monkeypatch.setattr(programs, "_folders", lambda: [newest.folder])


@pytest.mark.usefixtures("only_the_newest")
def test_newer_programs_back_it_up_prove_it_and_restore_it(older: Practice) -> None:
    backup = older.back_up()
    assert backup.manifest.dump_version.startswith(f"{NEWEST}.")
    assert backup.manifest.server_version // 10_000 == older.major
    assert older.verify(backup) == []
    with older.run(""):
        plan = plan_restore.fn(older.environment, backup.id, "")
        create_new_database.fn(older.environment, plan)
        restore_into_new.fn(older.environment, plan)
        verify_restored.fn(older.environment, plan)
        with pytest.raises(RestoreFailed, match="already exists"):  # other errors are none that may be overlooked
            restore_into_new.fn(older.environment, plan)
    older.server.execute(f"DROP DATABASE {plan.new_name} WITH (FORCE)")


def test_a_backup_of_a_newer_server_is_not_restored(older: Practice) -> None:
    backup = older.edit_manifest(older.back_up(), server_version=NEWEST * 10_000)
    with older.run(""):
        plan = plan_restore.fn(older.environment, backup.id, "")
        told = f"server not older: PostgreSQL {older.major}; the backup is of {NEWEST}"
        with pytest.raises(Unmet, match=told):
            require_possible(plan)
