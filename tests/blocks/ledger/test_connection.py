"""Connecting to the ledger, and bringing its schema up to date."""

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from urllib.parse import urlsplit

import psycopg
import pytest

from blocks.errors import LedgerUnreachable, MissingReference, Refused
from blocks.ledger import connection as ledger_connection
from blocks.ledger.connection import connect, migrate, migrate_ledger
from tests.blocks.ledger.pooler import running_pooler
from tests.deployments.shop.processes import Postgres, free_port
from tests.ledger_database import PASSWORD, LedgerDatabase, empty_database


@pytest.fixture
def empty(ledger_server: Postgres) -> Iterator[LedgerDatabase]:
    with empty_database(ledger_server) as database:
        yield database


def test_a_connection_is_recognised_on_the_server_and_bounded(ledger: LedgerDatabase) -> None:
    with ledger.connect("run-1") as connection:
        row = connection.execute(
            "SELECT current_setting('application_name') AS name, current_setting('statement_timeout') AS most"
        ).fetchone()
    assert row == {"name": "backstop run-1", "most": "5s"}


def with_password(url: str, password: str) -> str:
    return url.replace(PASSWORD, password)


def at_port(url: str, port: int) -> str:
    return url.replace(f":{urlsplit(url).port}/", f":{port}/")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda url: at_port(url, free_port()),
        lambda url: with_password(url, "wrong-but-secret"),
        lambda url: url + "_unknown",
        lambda url: url.replace("127.0.0.1", "256.256.256.256"),
        lambda url: url + "?sslmode=secret-nonsense",
        lambda url: f"postgresql//ledger:{PASSWORD}@127.0.0.1/x",
        lambda url: f"{PASSWORD}",
    ],
    ids=["port", "password", "database", "host", "option", "scheme", "no url"],
)
def test_an_unreachable_ledger_is_named_without_its_password(
    ledger: LedgerDatabase, spoil: Callable[[str], str]
) -> None:
    with pytest.raises(LedgerUnreachable) as refusal:
        connect("run-1", spoil(ledger.url))
    assert "nothing was changed" in str(refusal.value)
    assert "secret" not in str(refusal.value)
    assert PASSWORD not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_a_server_that_takes_connections_and_says_nothing(
    ledger: LedgerDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_connection, "STATEMENT_SECONDS", 2)  # libpq waits no less
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(LedgerUnreachable):
            connect("run-1", at_port(ledger.url, silent.getsockname()[1]))
    assert time.monotonic() - began < 20


def test_the_address_comes_from_the_surroundings(ledger: LedgerDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BACKSTOP_LEDGER_URL", raising=False)
    with pytest.raises(MissingReference, match="BACKSTOP_LEDGER_URL"):
        connect("run-1")
    monkeypatch.setenv("BACKSTOP_LEDGER_URL", ledger.url)
    connect("run-1").close()


def test_a_pooler_in_between_is_refused(ledger: LedgerDatabase) -> None:
    """There a session-level lock would be held by a session that others use too."""
    with running_pooler(ledger.server.port) as port:
        address = at_port(ledger.url, port) + "?sslmode=disable&gssencmode=disable"
        with pytest.raises(Refused, match="connection pooler") as refusal:
            connect("run-1", address)
    assert "direct address" in refusal.value.hint


def test_migrating_again_changes_nothing(empty: LedgerDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKSTOP_LEDGER_URL", empty.url)
    monkeypatch.setenv("PGAPPNAME", "tests")
    first = migrate_ledger()
    assert first[0] == "001_initial.sql"
    assert migrate_ledger() == []
    assert [(name,) for name in first] == empty.as_superuser("SELECT name FROM schema_file ORDER BY name")


def test_two_may_migrate_at_once(empty: LedgerDatabase) -> None:
    start = Barrier(2)

    def migrate_it(run_id: str) -> list[str]:
        with empty.connect(run_id) as connection:
            start.wait()
            return migrate(connection)

    with ThreadPoolExecutor(2) as threads:
        applied = sorted(threads.map(migrate_it, ["run-1", "run-2"]))
    assert applied[0] == []
    assert applied[1]


def test_a_migration_that_fails_leaves_nothing_behind(empty: LedgerDatabase) -> None:
    empty.as_superuser("CREATE TABLE audit ()")
    with empty.connect("run-1") as connection, pytest.raises(psycopg.errors.DuplicateTable):
        migrate(connection)
    assert empty.as_superuser("SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == [("audit",)]
