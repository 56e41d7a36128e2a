"""Which backups there are, and which one `latest` is."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from blocks.errors import BadParameter, Refused
from blocks.manifest import new_id
from tasks.catalogue import Backup, find_backup, read_catalogue
from tasks.retention import plan_pruning
from tests.databases.practice import Practice

pytestmark = pytest.mark.parametrize("postgres", [18], indirect=True, ids=["PostgreSQL 18"])

DAY = timedelta(days=1)
BEGAN = datetime(2024, 11, 1, 2, tzinfo=UTC)


@pytest.fixture
def backups(empty: Practice) -> list[Backup]:
    """Three, a day apart, of which none is proven."""
    model = empty.back_up()
    content = json.loads(empty.path(model, "manifest.json").read_text())
    empty.path(model, "manifest.json").unlink()
    for days in range(3):
        at = BEGAN + days * DAY
        backup_id = new_id(at, f"run {days}")
        folder = empty.store_folder / "shop" / backup_id
        folder.mkdir()
        (folder / "manifest.json").write_text(json.dumps(content | {"id": backup_id, "taken_at": at.isoformat()}))
    return read_catalogue(empty.environment).backups


def prove(
    practice: Practice, backup: Backup, passed: bool, name: str = "1", sha256: str = "", kind: str = "full"
) -> None:
    proof = {"backup": backup.id, "manifest_sha256": sha256 or backup.manifest_sha256, "kind": kind, "passed": passed}
    proof |= {"findings": [], "verified_at": BEGAN.isoformat(), "run_id": "run", "seconds": 1}
    path = practice.path(backup, f"proofs/{name}.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(proof))


def latest(practice: Practice, at: datetime | None = None) -> str:
    return find_backup(practice.environment, "latest", at).id


def test_they_come_oldest_first_and_by_their_id(empty: Practice, backups: list[Backup]) -> None:
    assert [backup.manifest.taken_at for backup in backups] == [BEGAN, BEGAN + DAY, BEGAN + 2 * DAY]
    assert find_backup(empty.environment, backups[1].id) == backups[1]
    with pytest.raises(BadParameter, match=f"allowed: {backups[2].id}, {backups[1].id}, {backups[0].id}"):
        find_backup(empty.environment, "20200101T000000Z-00000000")


def test_latest_is_the_newest_that_is_proven(empty: Practice, backups: list[Backup]) -> None:
    with pytest.raises(Refused, match="has no proven backup"):
        latest(empty)
    prove(empty, backups[0], passed=True)
    prove(empty, backups[1], passed=True)
    prove(empty, backups[2], passed=True, kind="cheap")
    assert latest(empty) == backups[1].id
    assert latest(empty, BEGAN + DAY) == backups[1].id
    assert latest(empty, BEGAN + DAY - timedelta(seconds=1)) == backups[0].id
    with pytest.raises(Refused, match="no proven backup at or before 2024-10-31"):
        latest(empty, BEGAN - DAY)
    with pytest.raises(BadParameter, match=f"none beside backup={backups[0].id}: name one of both"):
        find_backup(empty.environment, backups[0].id, BEGAN)


def test_a_newest_of_a_time_yet_to_come_is_not_taken_unless_it_is_named(empty: Practice, backups: list[Backup]) -> None:
    ahead = (datetime.now(UTC) + 365 * DAY).isoformat()
    wrong = empty.edit_manifest(backups[0], taken_at=ahead, finished_at=ahead)
    prove(empty, wrong, passed=True)
    prove(empty, backups[1], passed=True)
    with pytest.raises(Refused, match=f"{wrong.id}, is of a time yet to come: a clock was wrong, or is.*Name the one"):
        latest(empty)
    assert latest(empty, BEGAN + DAY) == backups[1].id
    assert find_backup(empty.environment, wrong.id).id == wrong.id
    with empty.run("backups"):
        fates = {fate.backup: fate.kept_as for fate in plan_pruning.fn(empty.environment).fates}
    assert fates[wrong.id] == ["its time is yet to come"]
    assert "newest" in fates[backups[2].id]
    assert "newest proven" in fates[backups[1].id]


def test_where_only_the_servers_clock_is_ahead_the_workers_counts(empty: Practice, backups: list[Backup]) -> None:
    prove(empty, backups[1], passed=True)
    ahead, finished = datetime.now(UTC) + 365 * DAY, BEGAN + timedelta(hours=1)
    wrong = empty.edit_manifest(backups[0], taken_at=ahead.isoformat(), finished_at=finished.isoformat())
    prove(empty, wrong, passed=True)
    assert [backup.id for backup in read_catalogue(empty.environment).backups] == [backup.id for backup in backups]
    assert latest(empty) == backups[1].id


def test_the_newest_full_proof_counts_unless_something_was_found_since(empty: Practice, backups: list[Backup]) -> None:
    prove(empty, backups[0], passed=True, name="1")
    prove(empty, backups[0], passed=False, name="2")
    assert not find_backup(empty.environment, backups[0].id).is_proven
    prove(empty, backups[0], passed=True, name="3")
    prove(empty, backups[0], passed=False, name="4", kind="cheap")
    assert not find_backup(empty.environment, backups[0].id).is_proven
    prove(empty, backups[0], passed=True, name="5", kind="cheap")
    assert find_backup(empty.environment, backups[0].id).is_proven


def test_the_proof_of_another_manifest_proves_nothing(empty: Practice, backups: list[Backup]) -> None:
    prove(empty, backups[0], passed=True, sha256="0" * 64)
    empty.path(backups[0], "proofs/2.json").write_text("{")
    assert not find_backup(empty.environment, backups[0].id).is_proven
    prove(empty, backups[0], passed=True)
    assert empty.edit_manifest(backups[0], label="edited").proofs == []


def test_what_is_no_manifest_is_no_backup(empty: Practice, backups: list[Backup], tmp_path: Path) -> None:
    for name in ("manifest.json.1", "x/manifest.json", "Manifest.json"):
        path = empty.path(backups[0], "").with_name("20260101T000000Z-12345678") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    catalogue = read_catalogue(empty.environment)
    assert (catalogue.backups, catalogue.unreadable) == (backups, [])
