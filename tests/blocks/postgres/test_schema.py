from collections.abc import Iterator

import pytest

from blocks.errors import BackstopError
from blocks.postgres.connection import connect
from blocks.postgres.programs import Programs, find_programs_for
from blocks.postgres.schema import (
    Invalid,
    read_invalid,
    read_schema,
    schema_change,
    schema_difference,
    schema_digest,
)
from tests.databases.practice import script_of_everything
from tests.deployments.shop.processes import Postgres


@pytest.fixture
def programs(postgres: Postgres) -> Programs:
    major = int(str(postgres.execute("SHOW server_version_num")[0][0])) // 10_000
    return find_programs_for(major, major)


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    name = postgres.make_database()
    yield name
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_the_same_schema_is_the_same_text_each_time(postgres: Postgres, programs: Programs, database: str) -> None:
    script = script_of_everything(postgres)
    postgres.execute(script, database)
    other = postgres.make_database()
    postgres.execute(script, other)
    texts = [read_schema(postgres.url(name), programs) for name in (database, database, other)]
    postgres.execute(f"DROP DATABASE {other} WITH (FORCE)")
    assert len({schema_digest(text) for text in texts}) == 1
    assert "restrict" not in texts[0]
    assert "-- Name:" not in texts[0]
    assert "CREATE TABLE" in texts[0]


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE users ADD COLUMN email text",
        "ALTER TABLE users ALTER COLUMN name SET DEFAULT 'x'",
        "CREATE INDEX users_by_name ON users (name)",
        "COMMENT ON TABLE users IS 'the -- users; $$'",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1 -- one\n $$",
        "CREATE TYPE mood AS ENUM ('sad')",
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
    ],
)
def test_every_change_is_seen(postgres: Postgres, programs: Programs, database: str, change: str) -> None:
    postgres.execute("CREATE TABLE users (id int, name text)", database)
    before = read_schema(postgres.url(database), programs)
    postgres.execute(change, database)
    after = read_schema(postgres.url(database), programs)
    assert schema_digest(before) != schema_digest(after)
    assert any(line.startswith("+") for line in schema_difference(before, after).splitlines()[2:])


def test_rows_and_comments_of_a_body_do_not_confuse_it(postgres: Postgres, programs: Programs, database: str) -> None:
    postgres.execute("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $x$ -- kept\n\nSELECT 1; $x$", database)
    before = read_schema(postgres.url(database), programs)
    assert "-- kept\n\nSELECT 1; $" in before
    postgres.execute("CREATE TABLE a (id int)", database)
    postgres.execute("INSERT INTO a VALUES (1)", database)
    postgres.execute("DROP TABLE a", database)
    assert schema_difference(before, read_schema(postgres.url(database), programs)) == ""


def test_a_difference_is_bounded() -> None:
    shown = schema_difference("", "\n".join(str(number) for number in range(1000)), most_lines=10).splitlines()
    assert len(shown) == 11
    assert shown[-1].startswith("… and ")


def test_a_schema_that_cannot_be_read(postgres: Postgres, programs: Programs) -> None:
    with pytest.raises(BackstopError, match="could not be read") as failed:
        read_schema(postgres.url("nothing"), programs)
    assert postgres.password not in repr(failed.value)


def test_what_is_invalid_is_named(postgres: Postgres, database: str) -> None:
    postgres.execute("CREATE TABLE users (name text); INSERT INTO users VALUES ('a'), ('a')", database)
    with connect(postgres.url(database), "test") as connection:
        assert read_invalid(connection) == []
        with pytest.raises(Exception, match="duplicated"):
            connection.execute("CREATE UNIQUE INDEX CONCURRENTLY one_name ON users (name)")
        connection.execute("ALTER TABLE users ADD CONSTRAINT short CHECK (length(name) < 9) NOT VALID")
        assert read_invalid(connection) == [
            Invalid("constraint", "short", "users", "public"),
            Invalid("index", "one_name", "users", "public"),
        ]
        connection.execute("DROP INDEX one_name; ALTER TABLE users VALIDATE CONSTRAINT short")
        assert read_invalid(connection) == []


def test_a_change_is_the_same_on_a_database_and_on_its_copy(
    postgres: Postgres, programs: Programs, database: str
) -> None:
    # A restored CHECK of this kind is spelled differently: it must not count as a change.
    postgres.execute(
        "CREATE TABLE users (id int, state varchar(9), CONSTRAINT known CHECK (state IN ('old', 'new')))", database
    )
    copy = postgres.make_database()
    dumped = read_schema(postgres.url(database), programs)
    postgres.execute(dumped, copy)
    before = {name: read_schema(postgres.url(name), programs) for name in (database, copy)}
    assert before[database] != before[copy]
    for name in (database, copy):
        postgres.execute("ALTER TABLE users ADD COLUMN email text; DROP INDEX IF EXISTS nothing", name)
    changes = {
        name: schema_change(before[name], read_schema(postgres.url(name), programs)) for name in (database, copy)
    }
    postgres.execute(f"DROP DATABASE {copy} WITH (FORCE)")
    went, came = changes[database]
    assert changes[copy] == (went, came)
    assert any("email text" in line for line in came)


def test_the_table_of_a_tools_record_can_be_left_out(postgres: Postgres, programs: Programs, database: str) -> None:
    postgres.execute("CREATE TABLE users (id int); CREATE TABLE record (id serial)", database)
    schema = read_schema(postgres.url(database), programs, without_table="record")
    assert "users" in schema
    assert "record" not in schema
