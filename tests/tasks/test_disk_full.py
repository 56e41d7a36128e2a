"""A full disk, wherever it is, is told as one, leaves nothing behind, and says nothing about a backup."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.database import MAIN
from blocks.errors import BackstopError, Unmet
from blocks.postgres import throwaway
from blocks.postgres.dump import DumpFailed
from blocks.postgres.restore import ServerFailed
from blocks.stores.directory import DirectoryStore
from tasks.backup import plan_backup, write_backup
from tasks.restore import create_new_database, drop_new_database, restore_into_new
from tasks.restore_plan import plan_restore, require_possible
from tests.databases.practice import Practice, practising
from tests.databases.small_disk import small_disk
from tests.deployments.shop.processes import Postgres, running_postgres
from tests.ledger_database import LedgerDatabase

TABLE = """
CREATE TABLE large (content text);
INSERT INTO large SELECT md5(n::text) FROM generate_series(1, 600000) n;
"""
"""About 40 MB in the database, 20 MB in a dump."""


@pytest.fixture(scope="module")
def shared_practice(
    shared_ledger: LedgerDatabase, ledger_server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Practice]:
    with practising(shared_ledger, ledger_server, tmp_path_factory.mktemp("full"), TABLE) as practice:
        yield practice


@pytest.fixture
def practice(ledger: LedgerDatabase, shared_practice: Practice, evidence: Path) -> Practice:
    return shared_practice


def test_scratch_that_is_full_leaves_no_backup(practice: Practice, monkeypatch: pytest.MonkeyPatch) -> None:
    known = sorted(practice.store_folder.rglob("*"))
    with small_disk(mebibytes=1) as small:
        monkeypatch.setattr(tempfile, "tempdir", str(small))
        with pytest.raises(DumpFailed, match="No space left on device") as failed:
            practice.back_up()
        assert list(small.iterdir()) == []
    assert failed.value.hint
    assert list(practice.store_folder.rglob("manifest.json")) == [one for one in known if one.name == "manifest.json"]


def test_scratch_without_any_room_is_told_as_such(practice: Practice, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(mebibytes=1) as small:
        (small / "ballast").write_bytes(bytes(1 << 20))
        monkeypatch.setattr(tempfile, "tempdir", str(small))
        with pytest.raises(BackstopError, match=f"No space left on device: {small} is full. Make room there"):
            practice.back_up()


def test_a_store_that_is_full_leaves_nothing(practice: Practice) -> None:
    with small_disk(mebibytes=5) as small, practice.run("backups"):
        plan = plan_backup.fn(practice.environment, "", False)  # when there was room
        full = practice.describe(store=DirectoryStore(folder=str(small)))
        with pytest.raises(BackstopError, match="The store is full") as failed:
            write_backup.fn(full, plan)
        assert failed.value.hint
        assert [one for one in small.rglob("*") if one.name == "manifest.json" or one.suffix == ".draft"] == []


@pytest.mark.parametrize("mebibytes", [20, 75], ids=["no room for a server", "no room for the rows"])
def test_a_proof_that_has_no_room_finds_nothing_about_the_backup(
    practice: Practice, monkeypatch: pytest.MonkeyPatch, mebibytes: int
) -> None:
    backup = practice.unchanged
    with small_disk(mebibytes) as small:
        monkeypatch.setattr(throwaway, "_place", lambda user: str(small))
        with pytest.raises(BackstopError, match=r"No space left on device|Check free disk space") as failed:
            practice.verify(backup)
        assert failed.value.hint
        assert list(small.iterdir()) == []
    assert practice.find(backup.id).proofs == []


def test_a_server_without_room_for_a_second_copy(
    ledger: LedgerDatabase, evidence: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(mebibytes=160) as small:
        with monkeypatch.context() as patched:
            patched.setattr(tempfile, "tempdir", str(small))
            serving = running_postgres()
            server = serving.__enter__()
        try:
            (tmp_path / "practice").mkdir()
            with practising(ledger, server, tmp_path / "practice", TABLE) as practice:
                backup = practice.back_up()
                with practice.run(""):
                    plan = plan_restore.fn(practice.environment, backup.id, "")
                    with pytest.raises(Unmet, match=r"room for a second copy: .* free, .* wanted"):
                        require_possible(plan)
                    create_new_database.fn(practice.environment, plan)
                    with pytest.raises(ServerFailed, match="No space left on device"):  # who measured nothing
                        restore_into_new.fn(practice.environment, plan)
                    drop_new_database.fn(practice.environment, plan.new_name, MAIN)
                assert practice.server.execute("SELECT count(*) FROM large", practice.database) == [(600_000,)]
        finally:
            serving.__exit__(None, None, None)
