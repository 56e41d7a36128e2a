"""Roles that pg_dumpall wrote down are made anew on another server, by a role that is no superuser, or not at all."""

import subprocess

import psycopg
import pytest

from blocks.postgres.connection import connect, libpq_environment
from blocks.postgres.described_roles import Role, create_roles, drop_roles, read_globals
from blocks.postgres.programs import find_programs_for
from tests.deployments.shop.processes import Postgres

pytestmark = pytest.mark.parametrize("postgres", [16], indirect=True, ids=["PostgreSQL 16"])

APP, MIXED = "moved_app", 'Mixed "Case'
NAMES = (APP, MIXED)
MAKE = """
CREATE ROLE moved_app LOGIN BYPASSRLS CREATEDB CONNECTION LIMIT 3 VALID UNTIL '2030-01-01' PASSWORD 'its old one';
ALTER ROLE moved_app SET search_path TO public, "my schema";
ALTER ROLE moved_app SET app.it = 'o''clock';
CREATE ROLE "Mixed ""Case" LOGIN NOINHERIT;
GRANT moved_app TO "Mixed ""Case" WITH ADMIN OPTION;
GRANT pg_read_all_data TO moved_app
"""
LOOK = (
    "SELECT rolname, rolcanlogin, rolinherit, rolcreatedb, rolconnlimit, extract(year FROM rolvaliduntil), rolconfig"
    " FROM pg_roles WHERE rolname IN ('moved_app', 'Mixed \"Case') ORDER BY 1"
)


@pytest.fixture
def described(postgres: Postgres) -> dict[str, Role]:
    """As they were on a server that has them no more."""
    for statement in MAKE.split(";\n"):
        postgres.execute(statement)
    with libpq_environment(postgres.url(), "test") as environment:
        command = [find_programs_for(16, 16).path("pg_dumpall"), "--globals-only", "--no-role-passwords"]
        script = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=30).stdout
    assert "its old one" not in script
    with postgres.connect() as connection:
        connection.execute('DROP ROLE "Mixed ""Case"; DROP ROLE moved_app')
    return read_globals(script)


@pytest.fixture
def maker(postgres: Postgres) -> str:
    """URL of a role that may make others."""
    postgres.execute("DROP ROLE IF EXISTS maker")
    postgres.execute("CREATE ROLE maker LOGIN CREATEROLE CREATEDB PASSWORD 'x'")
    return f"postgresql://maker:x@127.0.0.1:{postgres.port}/postgres"


def test_they_are_as_they_were_but_for_what_the_maker_may_not_give(
    postgres: Postgres, described: dict[str, Role], maker: str
) -> None:
    with connect(maker, "test") as connection:
        left = create_roles(connection, [described[name] for name in NAMES], {APP: "its new one"}, "made by 1")

        assert postgres.execute(LOOK) == [
            (MIXED, True, False, False, -1, None, None),
            (APP, True, True, True, 3, 2030, ['search_path=public, "my schema"']),
        ]
        told = " ".join(left)
        assert len(left) == 4, left
        assert all(word in told for word in ("BYPASSRLS", "app.it", "pg_read_all_data", f"{MIXED} has no password"))
        psycopg.connect(f"postgresql://{APP}:its%20new%20one@127.0.0.1:{postgres.port}/postgres").close()
        connection.execute(f"CREATE DATABASE moved OWNER {APP}")

        with pytest.raises(psycopg.errors.DependentObjectsStillExist):
            drop_roles(connection, NAMES, "made by 1")
        connection.execute("DROP DATABASE moved")
        drop_roles(connection, NAMES, "made by 2")
        assert len(postgres.execute(LOOK)) == 2, "another run's were dropped"
        drop_roles(connection, NAMES, "made by 1")
        drop_roles(connection, NAMES, "made by 1")
        assert postgres.execute(LOOK) == []


def test_where_one_exists_none_is_made(postgres: Postgres, described: dict[str, Role], maker: str) -> None:
    postgres.execute('CREATE ROLE "Mixed ""Case"')
    with connect(maker, "test") as connection, pytest.raises(psycopg.errors.DuplicateObject):
        create_roles(connection, [described[name] for name in NAMES], {}, "made by 1")
    assert [name for name, *_ in postgres.execute(LOOK)] == [MIXED]
    postgres.execute('DROP ROLE "Mixed ""Case"')
