"""Dumps as the runbooks make them become backups, whatever they are called."""

import gzip
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest

from blocks.errors import BackstopError, BadParameter, Refused
from blocks.postgres.connection import libpq_environment
from blocks.postgres.programs import find_programs
from tasks.backup import plan_backup, write_backup
from tasks.catalogue import Backup
from tasks.dump_import import imported, read_importable
from tests.databases.practice import Practice

ON_ONE_VERSION = pytest.mark.parametrize("postgres", [16], indirect=True, ids=["PostgreSQL 16"])
pytestmark = ON_ONE_VERSION


@pytest.fixture
def folder(everything: Practice, tmp_path: Path) -> Path:
    folder = tmp_path / "imports"
    folder.mkdir()
    everything.environment = everything.describe(import_folder=str(folder))
    return folder


@pytest.fixture
def dump(everything: Practice, folder: Path) -> Callable[..., Path]:
    """`pg_dump OPTIONS` through a filter, as a file of that name."""
    programs = next(found for found in find_programs() if found.major == everything.major)

    def dump(name: str, *options: str, through: str = "cat") -> Path:
        line = (
            f'"$PG_DUMP" "$@" | {through} > "$FILE"'
            if "--format=directory" not in options
            else '"$PG_DUMP" "$@" -f "$FILE"'
        )
        with libpq_environment(everything.server.url(everything.database), "dump") as environment:
            environment |= {"PG_DUMP": programs.path("pg_dump"), "FILE": str(folder / name)}
            command = ["bash", "-o", "pipefail", "-ec", line, "dump", *options]
            subprocess.run(command, env=environment, check=True, timeout=60)
        return folder / name

    return dump


def import_it(practice: Practice, name: str) -> Backup:
    with practice.run("backups"):
        found = read_importable.fn(practice.environment, name)
        plan = plan_backup.fn(practice.environment, f"imported from {name}", False)
        with imported(found) as url:
            manifest = write_backup.fn(practice.environment, plan, url)
    return practice.find(manifest.id)


@pytest.mark.parametrize(
    ("name", "options", "through"),
    [
        ("plain.sql", (), "cat"),
        ("plain without owners.sql", ("--no-owner", "--no-privileges"), "cat"),
        ("clean.sql", ("--clean", "--if-exists"), "cat"),
        ("backup.sql.gz", (), "gzip -1"),
        ("backup.sql.zst", (), "zstd -q -1"),
        ("custom under a wrong name.sql.gz", ("--format=custom",), "cat"),
        ("custom gzipped once more", ("--format=custom",), "gzip -1"),
        ("tar.sql", ("--format=tar",), "cat"),
        ("directory", ("--format=directory", "--jobs=2"), ""),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_it_becomes_a_backup_of_the_same_rows(
    everything: Practice, dump: Callable[..., Path], name: str, options: tuple[str, ...], through: str
) -> None:
    dump(name, *options, through=through)

    backup = import_it(everything, name)

    wanted, found = everything.unchanged.manifest, backup.manifest
    assert {(one.schema_name, one.name): one.rows for one in found.tables} == {
        (one.schema_name, one.name): one.rows for one in wanted.tables
    }
    assert [(one.name, one.sha256) for one in found.tables] == [(one.name, one.sha256) for one in wanted.tables]
    assert found.large_objects_sha256 == wanted.large_objects_sha256
    assert (found.database, found.owner) == (wanted.database, wanted.owner)
    assert found.globals is None


def test_an_imported_one_is_proven_like_any_other(everything: Practice, dump: Callable[..., Path]) -> None:
    dump("plain.sql")
    assert everything.verify(import_it(everything, "plain.sql")) == []


def test_encrypted_with_age(everything: Practice, dump: Callable[..., Path]) -> None:
    path = dump("plain.sql")
    path.with_name("safe").write_bytes(pyrage.encrypt(path.read_bytes(), [everything.identity.to_public()]))
    assert import_it(everything, "safe").manifest.rows == everything.unchanged.manifest.rows


def test_a_script_that_goes_to_another_database_is_refused(everything: Practice, dump: Callable[..., Path]) -> None:
    """Made with --create, it would leave the throw-away database for the one that it names."""
    dump("create.sql", "--create")
    with pytest.raises(Refused, match="connects to a database of its own choice"):
        import_it(everything, "create.sql")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no dump"),
        (b"\0\1\2\3" * 100, "is no dump"),
        (b"PGDMP\1\16\0\4\10", "pg_restore failed"),
        (b"SELECT 1;\nthis is no SQL;\n", "psql failed"),
        (gzip.compress(b"SELECT 1;\n" * 1000)[:-9], "cannot be opened to its end"),
    ],
    ids=["nothing", "noise", "half an archive", "no SQL", "half a gzip"],
)
def test_what_is_no_dump_is_refused(everything: Practice, folder: Path, content: bytes, words: str) -> None:
    (folder / "strange").write_bytes(content)
    with pytest.raises(BackstopError, match=words):
        import_it(everything, "strange")


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "", ".", "a/../../secret", "-x", "link"])
def test_nothing_outside_the_folder_is_read(everything: Practice, folder: Path, name: str) -> None:
    (folder.parent / "secret").write_text("SELECT 1;\n")
    (folder / "link").symlink_to(folder.parent / "secret")
    with pytest.raises(BadParameter):
        read_importable.fn(everything.environment, name)


def test_a_name_that_is_not_there_is_told_what_is(everything: Practice, folder: Path) -> None:
    (folder / "old.sql").write_text("SELECT 1;\n")
    with pytest.raises(BadParameter, match=r"one of old\.sql"):
        read_importable.fn(everything.environment, "new.sql")
