"""A session on the application's database server, of the role that restores."""

from collections.abc import Callable
from typing import TypeVar

import psycopg

from blocks.environment import Environment
from blocks.errors import RefusedByPlatform, Unreachable
from blocks.postgres.connection import Connection, connect
from blocks.postgres.databases import Database, require_database
from tasks.ledger import current_run
from tasks.live_database import MAINTENANCE_DATABASE, live_name, restore_url

T = TypeVar("T")


def connect_as_restorer(environment: Environment, instance: str = "") -> Connection:
    """In the database that nobody restores, so that all others can be renamed or dropped.

    `instance`: that of the live database where it is empty.
    """
    return connect(restore_url(environment, instance), current_run().id, MAINTENANCE_DATABASE, statement_seconds=60)


def read_live_database(environment: Environment) -> Database:
    """Raises BackstopError where it is gone."""
    with connect_as_restorer(environment) as connection:
        return require_database(connection, live_name(environment))


def translate(act: Callable[[], T]) -> T:
    """Raises Unreachable for what may pass, RefusedByPlatform for a no."""
    try:
        return act()
    except psycopg.OperationalError as error:
        raise Unreachable(f"The database server went away ({type(error).__name__}).") from None
    except psycopg.errors.ObjectInUse as error:
        raise Unreachable(f"The database is in use: {error.diag.message_primary}.") from None
    except psycopg.Error as error:
        raise RefusedByPlatform(f"The database server refuses: {error.diag.message_primary}.") from None
