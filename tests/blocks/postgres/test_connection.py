"""Connection strings as they are in the wild; a password that stands where nobody else can read it."""

import stat
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

from blocks.errors import Refused, Unreachable
from blocks.postgres.connection import NobodyThere, as_role, connect, libpq_environment, read_conninfo
from blocks.postgres.programs import Programs
from tests.deployments.shop.processes import Postgres, free_port

PASSWORD = "p:w\\d /@?#%&='\" ü☃"


@pytest.fixture
def url(server: Postgres) -> str:
    """Of a role with every special character in its password."""
    literal = PASSWORD.replace("'", "''")
    server.execute(f"DROP ROLE IF EXISTS special; CREATE ROLE special LOGIN PASSWORD '{literal}'")
    return f"postgresql://special:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}/postgres"


@pytest.mark.parametrize(
    "query",
    ["", "?schema=public&connection_limit=5&pool_timeout=3", "?sslmode=prefer&schema=app", "?connect_timeout=3"],
)
def test_urls_of_other_tools_are_understood(url: str, query: str) -> None:
    with connect(url + query, "test", statement_seconds=7) as connection:
        assert connection.execute("SELECT current_user::text").fetchone() == ("special",)
        assert connection.execute("SHOW statement_timeout").fetchone() == ("7s",)
        assert connection.execute("SHOW application_name").fetchone() == ("backstop test",)


def test_options_in_a_url_reach_the_server(url: str) -> None:
    with connect(f"{url}?options=-c%20search_path%3Dapp&schema=app", "test") as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("app",)


def test_other_spellings_are_understood(server: Postgres) -> None:
    for text in (server.url().replace("postgresql:", "postgres:"), f"host=127.0.0.1 port={server.port} user=owner"):
        assert read_conninfo(text)["user"] == "owner"


def test_another_database_takes_the_place_of_the_one_in_the_url(server: Postgres) -> None:
    with connect(server.url(), "test", "template1") as connection:
        assert connection.execute("SELECT current_database()::text").fetchone() == ("template1",)


@pytest.mark.parametrize(
    "bad", ["postgresql://u:hidden@[/x", "nonsense=1 password=hidden", "postgresql://u:hidden@h:1/%zz"]
)
def test_what_cannot_be_understood_is_refused_and_not_quoted(bad: str) -> None:
    with pytest.raises(Refused) as refused:
        read_conninfo(bad)
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_url_that_names_a_socket_and_no_host_leads_there(scheme: str) -> None:
    url = f"{scheme}:///shop?host=/run/postgresql&schema=app"
    assert read_conninfo(url) == {"dbname": "shop", "host": "/run/postgresql"}
    acting = read_conninfo(as_role(f"{scheme}:///shop?host=/run/postgresql", "owner"))
    assert acting == {"dbname": "shop", "host": "/run/postgresql", "options": "-c role=owner"}


def test_a_transaction_pooler_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="transaction pooler"):
        connect(f"{url}?pgbouncer=true", "test")


def test_nobody_there_and_a_wrong_password_never_quote_the_url(server: Postgres, url: str) -> None:
    for bad, error in (
        (url.replace(str(server.port), str(free_port())), NobodyThere),
        (server.url().replace(server.password, "hidden"), Unreachable),
    ):
        with pytest.raises(Unreachable) as failed:
            connect(bad, "test")
        assert type(failed.value) is error
        assert "hidden" not in str(failed.value)
        assert "127.0.0.1" not in str(failed.value)


def test_a_login_that_is_turned_away_is_told_with_the_servers_reason(server: Postgres, url: str) -> None:
    private = server.make_database()
    server.execute(f"REVOKE CONNECT ON DATABASE {private} FROM public")
    with pytest.raises(Unreachable, match=r"permission denied for database\)") as denied:
        connect(url, "test", private)
    with pytest.raises(Unreachable, match=r"password authentication failed for user\)"):
        connect(server.url().replace(server.password, "hidden"), "test")
    assert private not in str(denied.value)


def test_programs_read_the_password_from_a_private_file(url: str, programs: Programs, temporary: Path) -> None:
    with libpq_environment(f"{url}?schema=public&connection_limit=5", "test") as environment:
        passfile = Path(environment["PGPASSFILE"])
        assert stat.S_IMODE(passfile.stat().st_mode) == 0o600
        assert stat.S_IMODE(passfile.parent.stat().st_mode) == 0o700
        assert not any(PASSWORD in value or quote(PASSWORD, safe="") in value for value in environment.values())
        command = [
            programs.path("psql"),
            "--no-password",
            "--no-align",
            "--tuples-only",
            "--command=SELECT current_user",
        ]
        asked = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=True)
        assert asked.stdout == "special\n"
    assert list(temporary.iterdir()) == []
