"""Connecting to the ledger: direct, bounded in time, and recognisable on the server."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files

import psycopg
from psycopg.rows import dict_row

from blocks.errors import FenceLost, LedgerUnreachable, Refused
from blocks.reference import resolve

URL = "${BACKSTOP_LEDGER_URL}"
STATEMENT_SECONDS = 5
Row = dict[str, object]
Connection = psycopg.Connection[dict[str, object]]


def connect(run_id: str, url: str = URL) -> Connection:
    """An autocommit connection whose application_name is `backstop RUN_ID`.

    Keepalives are short because a lost host would otherwise hold its lock for two hours.
    Raises LedgerUnreachable, or Refused when a transaction pooler stands in between:
    there a session-level lock belongs to nobody.
    """
    address = resolve(url)
    try:
        connection = psycopg.connect(
            address,
            autocommit=True,
            row_factory=dict_row,
            application_name=_application_name(run_id),
            connect_timeout=STATEMENT_SECONDS,
            options=f"-c statement_timeout={STATEMENT_SECONDS}s",
            keepalives_idle=2,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=STATEMENT_SECONDS * 1000,
        )
        row = connection.execute("SELECT pg_backend_pid() AS pid").fetchone()
    except psycopg.Error as error:
        raise LedgerUnreachable(f"The ledger does not answer: {type(error).__name__}.") from None
    if row is None or row["pid"] != connection.info.backend_pid:
        connection.close()
        raise Refused(
            "The ledger is reached through a connection pooler, where a lock is not held by one session.",
            "Give BACKSTOP_LEDGER_URL the server's direct address. Nothing was changed.",
        )
    return connection


@contextmanager
def ledger_answers() -> Iterator[None]:
    """Around what a run tells or asks the ledger. Raises FenceLost: without it nobody knows who holds what."""
    try:
        yield
    except psycopg.Error as error:
        raise FenceLost(f"The ledger went away: {type(error).__name__}.") from None


def has_session(connection: Connection, run_id: str) -> bool:
    """Whether a process of the run is connected to the ledger."""
    found = connection.execute(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s",
        [_application_name(run_id)],
    ).fetchone()
    return found is not None


def migrate(connection: Connection) -> list[str]:
    """Apply the schema files that are not applied yet, in order; returns their names."""
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('backstop ledger schema'))")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_file (name text PRIMARY KEY, applied_at timestamptz DEFAULT now())"
        )
        applied = {row["name"] for row in connection.execute("SELECT name FROM schema_file")}
        scripts = sorted(files("blocks.ledger").joinpath("schema").iterdir(), key=lambda script: script.name)
        pending = [script for script in scripts if script.name not in applied and script.name.endswith(".sql")]
        for script in pending:
            connection.execute(script.read_text().encode())
            connection.execute("INSERT INTO schema_file (name) VALUES (%s)", [script.name])
    return [script.name for script in pending]


def migrate_ledger() -> list[str]:
    """Bring the ledger that this process is pointed at up to date."""
    os.environ.setdefault("PGAPPNAME", "backstop")
    with connect("schema") as connection:
        return migrate(connection)


def _application_name(run_id: str) -> str:
    return f"backstop {run_id}"[:63]
