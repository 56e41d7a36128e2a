"""Stop everybody from writing to a database, in PostgreSQL itself, and let them again."""

import time

from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.environment import Environment
from blocks.errors import RefusedByPlatform, Unreachable
from blocks.platforms.interface import Capability
from blocks.postgres.connection import Connection
from blocks.postgres.databases import (
    Database,
    close_to_all,
    count_sessions,
    end_sessions,
    open_to,
    read_database,
    require_database,
)
from tasks.effect import effect, read_intents
from tasks.ledger import current_run
from tasks.retry import is_passing
from tasks.server_session import connect_as_restorer, translate

QUIET_SECONDS = 20
"""How long sessions that were ended have for going away."""


# Repeating is safe: whoever is in it stays in it.
@task(name="Enter maintenance", cache_policy=NO_CACHE)
def enter_maintenance(environment: Environment) -> None:
    """Visitors are told to come back, where the platform can; else they meet the service's own errors.

    A platform that is away keeps nobody from stopping writes: PostgreSQL is where that is done.
    """
    platform = environment.platform
    if Capability.MAINTENANCE not in platform.capabilities:
        return
    try:
        in_it_for = platform.read_maintenance()
    except Unreachable as error:
        current_run().record("no maintenance", reason=error.message)
        return
    if not in_it_for:
        with effect("enter maintenance"):
            platform.set_maintenance(_on_behalf_of())


# Repeating is safe: whoever is out of it stays out.
@task(name="Leave maintenance", cache_policy=NO_CACHE, retries=10, retry_delay_seconds=1, retry_condition_fn=is_passing)
def leave_maintenance(environment: Environment) -> None:
    """Only what this run, or the one that it puts back, has entered."""
    platform, run = environment.platform, current_run()
    entered = read_intents(run.connection, _on_behalf_of(), "enter maintenance")
    if entered and platform.read_maintenance() == _on_behalf_of():
        with effect("leave maintenance"):
            platform.set_maintenance("")


# Repeating is safe: who is refused stays refused, and a session that is gone stays gone.
@task(name="Stop writes", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=1, retry_condition_fn=is_passing)
def stop_writes(environment: Environment, oid: int, instance: str = "") -> None:
    """Refuse every role but the restoring one, and end all sessions. Raises RefusedByPlatform for one that stays."""
    with connect_as_restorer(environment, instance) as connection:
        database = require_database(connection, oid=oid)
        with effect("stop writes", database=database.name, oid=oid):
            translate(lambda: close_to_all(connection, database))
            end_all_sessions(connection, database)


# Repeating is safe: privileges are set as a whole.
@task(name="Resume writes", cache_policy=NO_CACHE, retries=10, retry_delay_seconds=1, retry_condition_fn=is_passing)
def open_database(environment: Environment, oid: int, may_connect: list[str], instance: str = "") -> None:
    """Let those connect who could before. One that is gone, its oid 0, needs nobody to connect to it."""
    if not oid:
        return
    with connect_as_restorer(environment, instance) as connection:
        database = read_database(connection, oid=oid)
        if database is None or database.may_connect == set(may_connect):
            return
        with effect("resume writes", database=database.name, oid=oid):
            translate(lambda: open_to(connection, database, set(may_connect)))


def _on_behalf_of() -> str:
    return current_run().acts_for or current_run().id


def end_all_sessions(connection: Connection, database: Database) -> None:
    """End sessions until there is none. Raises RefusedByPlatform when one stays."""
    deadline = time.monotonic() + QUIET_SECONDS
    while True:
        left = end_sessions(connection, database)
        if not count_sessions(connection, database):
            return
        if time.monotonic() > deadline:
            who = ", ".join(left) or "their owners connect again and again"
            raise RefusedByPlatform(f"Sessions in {database.name} could not be ended: {who}.")
        time.sleep(0.05)
