"""What a dead run left at work: a free lock proves that its process is dead, not its statements on a server."""

import time
from collections.abc import Iterator

import psycopg
from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.environment import Environment
from blocks.errors import BackstopError, Refused, RefusedByPlatform, Unreachable
from blocks.postgres.connection import application_name
from blocks.postgres.databases import end_sessions_of
from tasks.ledger import current_run
from tasks.live_database import instances_of
from tasks.server_session import connect_as_restorer

GONE_SECONDS = 20


# Repeating is safe: a session that is gone stays gone.
@task(name="End what dead runs left at work", cache_policy=NO_CACHE)
def end_leftovers(environment: Environment, run_ids: list[str]) -> None:
    """End their sessions on the servers that the database may be on, and wait until they are gone.

    A server that does not answer has nothing at work that an undo could reach either. Raises
    RefusedByPlatform when a session stays.
    """
    for instance in _servers(environment):
        _end_leftovers(environment, instance, [application_name(run_id) for run_id in run_ids])


def _servers(environment: Environment) -> Iterator[str]:
    try:
        yield from instances_of(environment)
    except BackstopError as error:
        current_run().record("leftovers not looked for", instance="clones", reason=error.message)


def _end_leftovers(environment: Environment, instance: str, names: list[str]) -> None:
    try:
        with connect_as_restorer(environment, instance) as connection:
            deadline = time.monotonic() + GONE_SECONDS
            while left := end_sessions_of(connection, names):
                if time.monotonic() > deadline:
                    raise RefusedByPlatform(f"{left} sessions of dead runs are still at work on the database server.")
                time.sleep(0.1)
    except (Unreachable, Refused) as error:
        current_run().record("leftovers not looked for", instance=instance, reason=error.message)
    except psycopg.Error as error:
        reason = error.diag.message_primary or type(error).__name__
        raise RefusedByPlatform(f"Sessions of dead runs could not be ended: {reason}.") from None
