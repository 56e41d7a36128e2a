"""Two login roles over one owner, on a real server, with the roles of docs/database-roles.md."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from pydantic import ValidationError

from blocks.errors import RefusedByPlatform, SecretIsBad, Unreachable
from blocks.postgres.connection import read_conninfo, with_login
from blocks.secrets.postgres_role import PostgresRole
from blocks.sinks.interface import Values
from tests.blocks.secrets.contract import WayBack
from tests.databases.roles import PASSWORD, make_role
from tests.deployments.shop.processes import Postgres
from tests.secret_search import find_secrets

PLATFORM = [{"type": "platform"}]


@pytest.fixture
def database(postgres: Postgres) -> Iterator[str]:
    if not postgres.execute("SELECT 1 FROM pg_roles WHERE rolname = 'app'"):
        postgres.execute("CREATE ROLE app")
    name = postgres.make_database()
    postgres.execute(f"ALTER DATABASE {name} OWNER TO app")
    yield name
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")
    postgres.execute("DROP ROLE IF EXISTS app_a, app_b, app_rotate")


@pytest.fixture
def secret(postgres: Postgres, database: str, tmp_path: Path) -> PostgresRole:
    (tmp_path / "rotate_url").write_text(make_role(postgres, database, "rotate_url"))
    return PostgresRole(
        type="postgres-role",
        variable="DATABASE_URL",
        roles=["app_a", "app_b"],
        rotate_url=f"file:{tmp_path}/rotate_url",
        sinks=PLATFORM,
    )


@pytest.fixture
def old(postgres: Postgres, secret: PostgresRole, database: str) -> Values:
    url = f"postgresql://app_a:{PASSWORD}@127.0.0.1:{postgres.port}/{database}?application_name=shop"
    return {secret.variable: url}


def log_in(values: Values) -> "psycopg.Connection[tuple[object, ...]]":
    return psycopg.connect(values["DATABASE_URL"], autocommit=True, connect_timeout=5)


def test_old_and_new_are_accepted_until_the_old_one_is_retired(secret: PostgresRole, old: Values) -> None:
    assert secret.read_obstacles(old) == []
    new = secret.make(old)
    with pytest.raises(SecretIsBad, match="refuses the login app_b"):
        secret.prove(new)
    secret.install(old, new)
    secret.prove(old)
    secret.prove(new)
    with pytest.raises(SecretIsBad, match="accepts the retired login app_a"):
        secret.prove_refused(old)
    for _ in range(2):  # repeating it changes nothing
        secret.retire(old)
        secret.prove_refused(old)
    secret.prove(new)

    back = secret.make(new)
    secret.install(new, back)
    assert read_conninfo(back["DATABASE_URL"])["user"] == "app_a"
    secret.prove(back)
    secret.prove_refused(old)


def test_a_new_one_differs_from_the_old_in_its_login_alone(secret: PostgresRole, old: Values) -> None:
    before, after = (read_conninfo(values["DATABASE_URL"]) for values in (old, secret.make(old)))
    assert {name for name in before if before[name] != after[name]} == {"user", "password"}
    assert before.keys() == after.keys()
    assert len(after["password"]) >= 43
    assert secret.make(old) != secret.make(old)


class TestWayBack(WayBack):
    """Of this kind: `secret` and `old` are this file's."""


def test_what_either_of_them_makes_belongs_to_the_owner(postgres: Postgres, secret: PostgresRole, old: Values) -> None:
    new = secret.make(old)
    secret.install(old, new)
    for name, values in {"first": old, "second": new}.items():
        with log_in(values) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
    with log_in(new) as connection:
        connection.execute("DROP SCHEMA first")
        owners = connection.execute("SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'second'")
        assert owners.fetchall() == [("app",)]


def test_who_uses_the_old_one_is_named(secret: PostgresRole, old: Values) -> None:
    assert secret.read_users(old) == []
    with log_in(old), log_in({"DATABASE_URL": with_login(old["DATABASE_URL"], "app_a", PASSWORD)}):
        assert secret.read_users(old) == ["shop"]


def test_who_uses_the_old_one_after_a_breach_is_thrown_out(
    postgres: Postgres, secret: PostgresRole, old: Values
) -> None:
    assert secret.read_cut_obstacles(old) == []
    new = secret.make(old)
    secret.install(old, new)
    with log_in(old) as intruder, log_in(new) as application:
        secret.retire(old)
        assert intruder.execute("SELECT 1").fetchone() == (1,), "refusing logins ends no session"
        for _ in range(2):
            secret.end_sessions(old)
        with pytest.raises(psycopg.OperationalError):
            intruder.execute("SELECT 1")
        assert application.execute("SELECT 1").fetchone() == (1,)


def test_a_rotating_role_that_may_end_no_session_is_in_the_way_after_a_breach(
    postgres: Postgres, secret: PostgresRole, old: Values
) -> None:
    postgres.execute("REVOKE pg_signal_backend FROM app_rotate")
    postgres.execute("GRANT app_a TO app_rotate WITH INHERIT FALSE")  # else it may as one of them
    assert secret.read_obstacles(old) == []
    (obstacle,) = secret.read_cut_obstacles(old)
    assert "may not end the sessions of app_a: GRANT pg_signal_backend" in obstacle


def test_what_is_in_the_way_is_told(postgres: Postgres, secret: PostgresRole, old: Values, database: str) -> None:
    foreign = {"DATABASE_URL": postgres.url(database)}
    assert "logs in as owner, which is neither of app_a and app_b" in secret.read_obstacles(foreign)[0]
    for statement, obstacle in {
        "REVOKE app FROM app_b": "app_b is no member of app",
        "ALTER ROLE app_b RESET role": "the two do not act as one owner",
        "ALTER ROLE app_rotate NOCREATEROLE": "the rotating role may not alter app_a",
        "DROP ROLE app_b": "there is no role app_b",
    }.items():
        postgres.execute(statement)
        assert any(obstacle in one for one in secret.read_obstacles(old)), statement


def test_a_role_that_may_not_is_refused_and_a_server_that_is_away_is_no_refusal(
    postgres: Postgres, secret: PostgresRole, old: Values, tmp_path: Path
) -> None:
    postgres.execute("ALTER ROLE app_rotate NOCREATEROLE")
    with pytest.raises(RefusedByPlatform, match="permission denied"):
        secret.retire(old)
    (tmp_path / "rotate_url").write_text("postgresql://app_rotate@127.0.0.1:1/none")
    away = {"DATABASE_URL": f"postgresql://app_a:{PASSWORD}@127.0.0.1:1/none"}
    for ask in (secret.prove, secret.prove_refused, secret.reinstate, secret.retire, secret.read_users):
        with pytest.raises(Unreachable) as raised:
            ask(away)
        assert PASSWORD not in repr(raised.value)


def test_the_servers_log_holds_no_password_even_where_it_logs_every_statement(
    postgres: Postgres, secret: PostgresRole, old: Values
) -> None:
    postgres.execute("ALTER ROLE app_rotate SET log_statement = 'all'")
    new = secret.make(old)
    secret.install(old, new)
    log = postgres.log.read_bytes()
    assert b"SCRAM-SHA-256$" in log
    password = read_conninfo(new["DATABASE_URL"])["password"]
    assert find_secrets({"new": password}, "the server's log", log) == []


@pytest.mark.parametrize("roles", [["app_a"], ["app_a", "app_a"], ["app_a", ""], ["a", "b", "c"]])
def test_two_different_roles_are_wanted(roles: list[str]) -> None:
    with pytest.raises(ValidationError):
        PostgresRole(type="postgres-role", variable="X", roles=roles, rotate_url="${X}", sinks=PLATFORM)
