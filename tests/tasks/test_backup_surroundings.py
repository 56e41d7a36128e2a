"""What stands around the rows: the database's settings, its own code, and what the role of the backups may do."""

import pytest

from blocks.errors import BackstopError
from blocks.postgres.connection import connect
from tests.databases.practice import Practice

ON_ONE_VERSION = pytest.mark.parametrize("postgres", [18], indirect=True, ids=["PostgreSQL 18"])

HABITS = {
    "timezone": "Asia/Tokyo",
    "bytea_output": "escape",
    "datestyle": "German",
    "intervalstyle": "iso_8601",
    "extra_float_digits": "-3",
    "idle_in_transaction_session_timeout": "50ms",
    "lock_timeout": "1min",
    "search_path": "elsewhere",
}


def test_what_a_database_is_set_to_changes_nothing(empty: Practice) -> None:
    empty.execute(
        "CREATE TABLE habit AS SELECT now() AS at, '\\xff00'::bytea AS raw, pi() AS pi, interval '1 day' AS day"
    )
    for name, value in HABITS.items():
        empty.execute(f"ALTER DATABASE {empty.database} SET {name} = '{value}'")
    assert empty.verify(empty.back_up()) == []


@ON_ONE_VERSION
def test_the_revision_is_asked_as_the_application_would(empty: Practice) -> None:
    empty.execute("CREATE SCHEMA app; CREATE TABLE app.migrations AS SELECT 'r7' AS revision")
    empty.execute(f"ALTER DATABASE {empty.database} SET search_path = app")
    empty.environment = empty.describe(revision_sql="SELECT max(revision) FROM migrations")
    assert empty.back_up().manifest.schema_revision == "r7"
    empty.environment = empty.describe(revision_sql="SELECT revision FROM nowhere")
    with pytest.raises(BackstopError, match='relation "nowhere" does not exist'):
        empty.back_up()
    empty.environment = empty.describe(revision_sql="DELETE FROM migrations RETURNING revision")
    with pytest.raises(BackstopError, match="read-only transaction"):
        empty.back_up()


def test_a_database_that_no_dump_can_bring_back_is_not_proven(empty: Practice) -> None:
    empty.execute("CREATE TABLE word (text text)")
    body = "BEGIN RETURN (SELECT count(*) = 0 FROM word); END"  # which a dump asks without any search path
    empty.execute(f"CREATE FUNCTION no_words() RETURNS bool LANGUAGE plpgsql AS '{body}'")
    empty.execute("CREATE TABLE number (n int CHECK (no_words())); INSERT INTO number VALUES (1)")
    (finding,) = empty.verify(empty.back_up())
    assert finding.startswith("pg_restore failed: ")
    assert 'relation "word" does not exist' in finding


def test_rows_that_the_role_may_not_read_fail_the_backup_and_leave_none(empty: Practice) -> None:
    empty.execute("CREATE TABLE secret (text text); ALTER TABLE secret ENABLE ROW LEVEL SECURITY")
    empty.server.execute("ALTER ROLE app_backup NOBYPASSRLS")
    try:
        with pytest.raises(BackstopError, match='row-level security policy for table "secret"'):
            empty.back_up()
    finally:
        empty.server.execute("ALTER ROLE app_backup BYPASSRLS")
    assert list(empty.store_folder.rglob("manifest.json")) == []


def test_the_role_of_the_backups_can_change_nothing(empty: Practice) -> None:
    empty.execute("CREATE TABLE word (text text)")
    with connect(empty.backup_url, "test") as connection:
        for statement in ("INSERT INTO word VALUES ('x')", "DROP TABLE word", "CREATE TABLE other ()"):
            with pytest.raises(Exception, match=r"read-only transaction|permission denied|must be owner"):
                connection.execute(statement)
        connection.execute("SET default_transaction_read_only = off")
        with pytest.raises(Exception, match="permission denied"):
            connection.execute("INSERT INTO word VALUES ('x')")
