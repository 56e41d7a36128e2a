"""A session in the live database that restores tables there: its settings, its limits, and its errors in our words."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString

import psycopg

from blocks.environment import Environment
from blocks.errors import RefusedByPlatform, Unreachable
from blocks.postgres.connection import Connection, application_name, connect
from blocks.postgres.snapshot import COPY_SETTINGS
from tasks.ledger import current_run
from tasks.live_database import live_name, restore_url

STATEMENT_SECONDS = 3600
"""A large table takes its time; nothing may take for ever."""
_GONE_SECONDS = 20
_WAIT_MILLISECONDS = 5000
"""How long a statement waits for a lock. Whoever comes after it waits as long."""


@contextmanager
def live_session(environment: Environment) -> Iterator[Connection]:
    """Of the restoring role. Raises Unreachable, or RefusedByPlatform with the server's reason."""
    with (
        translated(),
        connect(restore_url(environment), current_run().id, live_name(environment), STATEMENT_SECONDS) as connection,
    ):
        for setting in COPY_SETTINGS:
            connection.execute(setting)
        connection.execute("SELECT set_config('lock_timeout', %s, false)", [str(_WAIT_MILLISECONDS)])
        yield connection


def end_sessions_of_run(connection: Connection, run_id: str) -> None:
    """Other sessions of the run in this database: a statement may go on after the one who sent it has given up.

    Those in the ledger are left alone, which may be on the same server. Raises RefusedByPlatform when one stays.
    """
    deadline = time.monotonic() + _GONE_SECONDS
    while connection.execute(_END, [application_name(run_id)]).fetchall():
        if time.monotonic() > deadline:
            raise RefusedByPlatform(f"A session of run {run_id} is still at work in the live database.")
        time.sleep(0.05)


@contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except psycopg.errors.LockNotAvailable:
        raise Unreachable("A table is in use by others for longer than this waits.") from None
    except psycopg.errors.QueryCanceled:
        raise RefusedByPlatform(f"The database server took longer than {STATEMENT_SECONDS} s.") from None
    except psycopg.OperationalError as error:
        raise Unreachable(f"The database server went away ({type(error).__name__}).") from None
    except psycopg.Error as error:
        raise RefusedByPlatform(f"The database server refuses: {_reason(error)}.") from None


def _reason(error: psycopg.Error) -> str:
    """The server's words, except where they quote a value."""
    quoting = isinstance(error, psycopg.DataError)
    told = None if quoting else error.diag.message_primary
    return told or type(error).__name__


_END: LiteralString = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = %s AND pid <> pg_backend_pid()
"""
