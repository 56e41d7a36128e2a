"""The role that docs/database-roles.md gives to restores suffices for each step, and may do little else."""

from pathlib import Path

import psycopg
import pytest

from blocks.database import PostgresDatabase
from tasks.restore import carry_over_settings, create_new_database, restore_into_new, verify_restored
from tasks.restore_plan import plan_restore
from tasks.restore_switch import exchange_names, exchange_names_back, switch_before
from tasks.writes import open_database, stop_writes
from tests.databases.practice import Practice
from tests.databases.roles import make_role


@pytest.fixture
def practice(empty: Practice, tmp_path: Path) -> Practice:
    """A database of the role `app`, restored by another one."""
    if not empty.server.execute("SELECT 1 FROM pg_roles WHERE rolname = 'app'"):
        empty.server.execute("CREATE ROLE app LOGIN")
    empty.server.execute(f"ALTER DATABASE {empty.database} OWNER TO app")
    empty.execute("ALTER SCHEMA public OWNER TO app")
    empty.execute(
        "SET ROLE app; CREATE TABLE word (id serial PRIMARY KEY, text text); INSERT INTO word VALUES (1, 'x')"
    )
    (tmp_path / "restore_url").write_text(make_role(empty.server, empty.database, "restore_url"))
    assert empty.environment.database
    parts = empty.environment.database.model_dump(include={"url", "backup_url"})
    empty.environment.database = PostgresDatabase(**parts, restore_url=f"file:{tmp_path}/restore_url")
    return empty


def test_it_can_take_every_step_of_a_restore_and_of_its_undo(practice: Practice) -> None:
    backup = practice.back_up()
    practice.execute("INSERT INTO word VALUES (2, 'since')")
    words = "SELECT text FROM word ORDER BY id"
    with practice.run("") as run:
        plan = plan_restore.fn(practice.environment, backup.id, "")
        assert [line.name for line in plan.prerequisites if not line.met] == ["backup proven"]
        assert plan.losses
        stop_writes.fn(practice.environment, plan.live.oid)
        created = create_new_database.fn(practice.environment, plan)
        restore_into_new.fn(practice.environment, plan)
        verify_restored.fn(practice.environment, plan)
        assert carry_over_settings.fn(practice.environment, plan) == []
        before = switch_before(practice.environment, plan, created)
        exchange_names.fn(practice.environment, before)
        open_database.fn(practice.environment, created.oid, before.may_connect)
        assert practice.server.execute(words, practice.database) == [("x",)]

        stop_writes.fn(practice.environment, created.oid)
        exchange_names_back.fn(practice.environment, before)
        open_database.fn(practice.environment, before.live_oid, before.may_connect)
        assert practice.server.execute(words, practice.database) == [("x",), ("since",)]
        assert run.failed_undos == []
    practice.server.execute(f"DROP DATABASE {before.new}")


def test_it_is_no_superuser_and_reaches_no_other_database(practice: Practice) -> None:
    other = practice.server.make_database()
    url = Path(practice.folder / "restore_url").read_text()
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT rolsuper, rolcreaterole, rolbypassrls FROM pg_roles WHERE rolname = current_user"
        )
        assert row.fetchone() == (False, False, False)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"ALTER DATABASE {other} RENAME TO stolen")
    practice.server.execute(f"DROP DATABASE {other}")
