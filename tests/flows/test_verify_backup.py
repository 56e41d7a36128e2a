"""A proof: what passed is proven, what did not is told to everybody; what could not be tried is neither."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.records import Records
from tests.flows.shop_database import ENVIRONMENT, ShopDatabase
from tests.running_stack import RunningStack


@pytest.fixture(scope="module")
def shared_backup(shared_stack: RunningStack) -> str:
    """The id of one that is not proven yet."""
    shared_stack.mend()
    made = shared_stack.run_procedure("back-up-database", ENVIRONMENT)
    assert made["ending"] == "Done", made
    return str(made["message"].split()[1])


@pytest.fixture
def folder(stack: RunningStack, shared_backup: str) -> Iterator[Path]:
    """Of the backup, whose objects are as they were afterwards."""
    folder = stack.state.folder / "backups" / ENVIRONMENT / shared_backup
    before = {path: path.read_bytes() for path in folder.glob("*.*")}
    yield folder
    for path, content in before.items():
        path.write_bytes(content)


def proofs(folder: Path) -> list[dict[str, object]]:
    """Oldest first."""
    by_age = sorted(folder.glob("proofs/*.json"), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(path.read_text()) for path in by_age]


def test_a_good_one_is_proven(stack: RunningStack, folder: Path, records: Records) -> None:
    rows = ShopDatabase(stack).rows()
    before = proofs(folder)

    result = stack.run_procedure("verify-backup", ENVIRONMENT, backup=folder.name)

    assert (result["ending"], result["exit_code"]) == ("Done", 0), result["message"]
    assert result["message"].startswith(f"{folder.name} is proven: restored and compared, ")
    (proof,) = [one for one in proofs(folder) if one not in before]
    assert (proof["kind"], proof["passed"], proof["findings"]) == ("full", True, [])
    assert proof["assertions"] == ["no task without a user"]
    assert proof["run_id"] == result["run"]
    assert records.report(ENVIRONMENT, result["run"])["proof"] == proof
    assert ShopDatabase(stack).rows() == rows
    records.assert_settled(f"{ENVIRONMENT}/proofs")


def test_a_cheap_one_reads_everything_and_proves_nothing(stack: RunningStack, folder: Path) -> None:
    result = stack.run_procedure("verify-backup", ENVIRONMENT, backup=folder.name, full=False)
    assert result["ending"] == "Done", result["message"]
    assert result["message"].startswith(f"{folder.name} is whole: every object has its digest")
    assert proofs(folder)[-1]["kind"] == "cheap"


@pytest.mark.parametrize("full", [True, False], ids=["full", "cheap"])
def test_a_damaged_one_fails_and_what_was_found_is_kept(stack: RunningStack, folder: Path, full: bool) -> None:
    content = bytearray((folder / "files.tar.zst.age").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "files.tar.zst.age").write_bytes(content)

    result = stack.run_procedure("verify-backup", ENVIRONMENT, backup=folder.name, full=full)

    assert (result["ending"], result["exit_code"]) == ("Refused", 1)
    assert result["message"].startswith(f"{folder.name} did not pass: files.tar.zst.age is not what was written")
    assert proofs(folder)[-1]["passed"] is False


@pytest.mark.parametrize("backup", ["20200101T000000Z-00000000", "../secrets", "x"])
def test_an_unknown_one_is_refused_with_what_there_is(
    stack: RunningStack, folder: Path, records: Records, backup: str
) -> None:
    result = stack.run_procedure("verify-backup", ENVIRONMENT, backup=backup)
    assert (result["ending"], result["exit_code"]) == ("Refused", 1)
    assert "Parameter 'backup' was" in result["message"]
    assert folder.name in result["message"]
    assert records.effects(result["run"]) == []


def test_status_tells_how_old_backup_and_proof_are(stack: RunningStack, folder: Path) -> None:
    stack.run_procedure("verify-backup", ENVIRONMENT, backup=folder.name)

    _, shown = stack.try_to_run("status", "--json")

    (standing,) = [one for one in json.loads(shown)["environments"] if one["environment"] == ENVIRONMENT]
    assert standing["backups"].startswith("newest 0.")
    assert ", proven 0." in standing["backups"]
    assert standing["broken"] == []
