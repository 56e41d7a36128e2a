"""What stands in the way of a restore is found before anything is stopped, and named with what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from blocks.database import PostgresDatabase
from blocks.errors import Unmet
from tasks.restore_plan import RestorePlan, plan_restore, require_possible
from tests.databases.practice import Practice

pytestmark = pytest.mark.parametrize("postgres", [16], indirect=True, ids=["PostgreSQL 16"])


def plan(practice: Practice, backup_id: str) -> RestorePlan:
    with practice.run(""):
        return plan_restore.fn(practice.environment, backup_id, "")


def detail(practice: Practice, backup_id: str, name: str) -> str:
    """Of the prerequisite, which must not hold, and so refuses."""
    made = plan(practice, backup_id)
    line = next(line for line in made.prerequisites if line.name == name)
    assert not line.met
    with pytest.raises(Unmet, match=name):
        require_possible(made)
    return line.detail


def test_an_extension_that_the_server_lacks(empty: Practice) -> None:
    backup = empty.edit_manifest(empty.back_up(), extensions={"plpgsql": "1.0", "postgis": "3.4"})
    assert detail(empty, backup.id, "extensions available") == "missing: postgis"


def test_a_role_that_the_server_lacks(empty: Practice) -> None:
    backup = empty.back_up()
    backup = empty.edit_manifest(backup, roles=[*backup.manifest.roles, "reporting"])
    assert detail(empty, backup.id, "roles exist") == "missing: reporting"


def test_a_role_that_does_not_own_the_database(empty: Practice, tmp_path: Path) -> None:
    backup = empty.back_up()
    if not empty.server.execute("SELECT 1 FROM pg_roles WHERE rolname = 'stranger'"):
        empty.server.execute("CREATE ROLE stranger LOGIN CREATEDB PASSWORD 'a-long-random-one'")
    (tmp_path / "stranger").write_text(
        f"postgresql://stranger:a-long-random-one@127.0.0.1:{empty.server.port}/{empty.database}"
    )
    assert empty.environment.database
    parts = empty.environment.database.model_dump(include={"url", "backup_url"})
    empty.environment.database = PostgresDatabase(**parts, restore_url=f"file:{tmp_path}/stranger")
    assert "TO stranger" in detail(empty, backup.id, "role owns the database")


def test_a_prepared_transaction(empty: Practice) -> None:
    backup = empty.back_up()
    with prepared(empty):
        assert "'unfinished'" in detail(empty, backup.id, "no prepared transactions")


def test_a_replication_slot_is_named(empty: Practice) -> None:
    backup = empty.back_up()
    empty.execute("SELECT pg_create_logical_replication_slot('reader', 'pgoutput')")
    try:
        notes = plan(empty, backup.id).notes
    finally:
        empty.execute("SELECT pg_drop_replication_slot('reader')")
    assert any("slot reader stays with the old database" in note for note in notes)


@contextmanager
def prepared(practice: Practice) -> Iterator[None]:
    with psycopg.connect(practice.server.url(practice.database), autocommit=True) as connection:
        connection.execute("BEGIN; CREATE TABLE half (id int); PREPARE TRANSACTION 'unfinished'")
        try:
            yield
        finally:
            connection.execute("ROLLBACK PREPARED 'unfinished'")


def test_a_subscriber_that_is_at_it(empty: Practice) -> None:
    backup = empty.back_up()
    with psycopg.connect(empty.server.url(empty.database), replication="database", autocommit=True):
        assert "stop its subscribers first: [('owner',)]" in detail(empty, backup.id, "no logical replication running")


def test_a_superuser_who_is_in_it(empty: Practice) -> None:
    backup = empty.back_up()
    empty.server.execute("DROP ROLE IF EXISTS boss")
    empty.server.execute("CREATE ROLE boss LOGIN SUPERUSER PASSWORD 'a-long-random-one'")
    with psycopg.connect(f"postgresql://boss:a-long-random-one@127.0.0.1:{empty.server.port}/{empty.database}"):
        assert detail(empty, backup.id, "no superuser writes") == "boss: nothing keeps a superuser out"
