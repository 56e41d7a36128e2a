"""Whatever happens to what is stored, a proof finds it; a cheap one, too, but for what only a restore can show."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyrage
import pytest

from blocks.errors import BadParameter, MissingReference, Refused
from tasks.catalogue import read_catalogue
from tests.databases.practice import Practice, practising
from tests.deployments.shop.processes import Postgres
from tests.ledger_database import LedgerDatabase

pytestmark = pytest.mark.parametrize("postgres", [18], indirect=True, ids=["PostgreSQL 18"])

FIVE_MEBIBYTES = """
CREATE TABLE word (text text);
CREATE TABLE large (content text);
INSERT INTO word VALUES ('x');
INSERT INTO large SELECT md5(n::text) FROM generate_series(1, 160000) n;
"""


@pytest.fixture(scope="module")
def shared_practice(
    shared_ledger: LedgerDatabase, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Practice]:
    with practising(shared_ledger, postgres, tmp_path_factory.mktemp("damage"), FIVE_MEBIBYTES) as practice:
        yield practice


@pytest.fixture
def practice(ledger: LedgerDatabase, shared_practice: Practice, evidence: Path) -> Practice:
    return shared_practice


@contextmanager
def put_back(path: Path) -> Iterator[None]:
    """What the block does to the file is undone."""
    content = path.read_bytes()
    try:
        yield
    finally:
        path.write_bytes(content)


def pieces(practice: Practice) -> dict[str, Path]:
    backup = practice.unchanged
    return {piece.name: practice.path(backup, piece.name) for piece in backup.manifest.pieces}


def large_one(practice: Practice) -> Path:
    (member,) = practice.unchanged.manifest.members
    return practice.path(practice.unchanged, member.pieces[0].name)


def findings(practice: Practice) -> tuple[str, str]:
    """The one of a cheap verification, and the one of a full one."""
    (cheap,) = practice.verify(practice.unchanged, full=False)
    (full,) = practice.verify(practice.unchanged)
    return cheap, full


def test_a_bit_that_flipped_anywhere(practice: Practice) -> None:
    assert len(pieces(practice)) == 3
    for name, path in pieces(practice).items():
        for place in (0, path.stat().st_size // 2, path.stat().st_size - 1):
            with put_back(path):
                content = bytearray(path.read_bytes())
                content[place] ^= 1
                path.write_bytes(content)
                (found,) = practice.verify(practice.unchanged, full=False)
            assert found == f"{name} is not what was written: its digest differs."


@pytest.mark.parametrize("large", [True, False], ids=["large", "small"])
def test_a_bit_that_flipped_never_becomes_a_restored_row(practice: Practice, large: bool) -> None:
    path = large_one(practice) if large else pieces(practice)["files.tar.zst.age"]
    with put_back(path):
        content = bytearray(path.read_bytes())
        content[-5] ^= 1
        path.write_bytes(content)
        cheap, full = findings(practice)
    assert cheap == full == f"{path.name} is not what was written: its digest differs."


@pytest.mark.parametrize("large", [True, False], ids=["large", "small"])
def test_an_object_that_was_cut_off(practice: Practice, large: bool) -> None:
    path = large_one(practice) if large else pieces(practice)["files.tar.zst.age"]
    with put_back(path):
        size = path.stat().st_size
        path.write_bytes(path.read_bytes()[: size // 2])
        cheap, full = findings(practice)
    assert cheap == f"{path.name} has {size // 2} bytes; it was written with {size}."
    assert path.name in full


@pytest.mark.parametrize("large", [True, False], ids=["large", "small"])
def test_an_object_that_is_gone(practice: Practice, large: bool) -> None:
    path = large_one(practice) if large else pieces(practice)["files.tar.zst.age"]
    with put_back(path):
        path.unlink()
        cheap, full = findings(practice)
    assert cheap == full
    assert cheap.endswith(f"{path.name} is not stored.")


@pytest.mark.parametrize("large", [True, False], ids=["large", "small"])
def test_an_object_of_another_backup_in_its_place(practice: Practice, large: bool) -> None:
    name = large_one(practice).name if large else "files.tar.zst.age"
    mine = practice.path(practice.unchanged, name)
    practice.execute("UPDATE word SET text = 'other'; UPDATE large SET content = md5(content)")
    other = practice.path(practice.back_up(), name)
    with put_back(mine):
        mine.write_bytes(other.read_bytes())
        cheap, full = findings(practice)
    assert name in cheap
    assert name in full


def test_a_manifest_that_was_edited(practice: Practice, evidence: Path) -> None:
    backup = practice.back_up()
    edited = practice.edit_manifest(backup, label="harmless")
    (found,) = practice.verify(edited, full=False)
    assert found.startswith("The manifest is not the one that was written")
    assert practice.verify(edited) == [found]

    tables = backup.manifest.model_dump(mode="json")["tables"]
    for path in evidence.rglob("*.sha256"):  # who lost the evidence still has the rows
        path.unlink()
    edited = practice.edit_manifest(backup, tables=[table | {"rows": 2} for table in tables if table["name"] == "word"])
    assert practice.verify(edited) == [
        "public.word has 1 rows; it had 2.",
        "public.large was restored, and the backup's snapshot had no such table.",
    ]


def test_a_manifest_that_cannot_be_read_is_no_backup_and_hides_no_other(practice: Practice) -> None:
    backup = practice.unchanged
    with put_back(practice.path(backup, "manifest.json")):
        practice.path(backup, "manifest.json").write_text("{")
        catalogue = read_catalogue(practice.environment)
        assert [line.partition(":")[0] for line in catalogue.unreadable] == [backup.id]
        with pytest.raises(BadParameter):
            practice.find(backup.id)
    assert practice.find(backup.id) == backup


def test_a_backup_in_the_folder_of_another_one_is_none(practice: Practice) -> None:
    backup = practice.unchanged
    folder = practice.path(backup, "").with_name("20200101T000000Z-00000000")
    folder.mkdir()
    (folder / "manifest.json").write_bytes(practice.path(backup, "manifest.json").read_bytes())
    try:
        (line,) = read_catalogue(practice.environment).unreadable
    finally:
        (folder / "manifest.json").unlink()
        folder.rmdir()
    assert f"its manifest is that of {backup.id} of shop" in line


def test_another_key_opens_nothing(practice: Practice, tmp_path: Path) -> None:
    (tmp_path / "other").write_text(str(pyrage.x25519.Identity.generate()))
    before, backup = practice.environment, practice.unchanged
    try:
        practice.environment = practice.describe(identity=f"file:{tmp_path}/other")
        cheap, full = findings(practice)
        assert "made for another key" in cheap
        assert "made for another key" in full
        practice.environment = practice.describe(identity=f"file:{tmp_path}/absent")
        with pytest.raises(MissingReference):
            practice.verify(backup)
        practice.environment = practice.describe(identity=None)
        with pytest.raises(Refused, match="names no identity"):
            practice.verify(backup)
        assert practice.verify(backup, full=False) == []  # digests need no key
    finally:
        practice.environment = before
