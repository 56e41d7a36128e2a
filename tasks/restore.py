"""Restore into a new database, verify it there, and let it take the name of the old one."""

import time
from collections.abc import Callable
from typing import TypeVar

import psycopg
from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel

from blocks.environment import Environment
from blocks.errors import BackupIsBad, RefusedByPlatform, SomebodyElseChangedIt, Unreachable
from blocks.manifest import Manifest
from blocks.postgres.connection import Connection, connect
from blocks.postgres.databases import (
    Database,
    carry_over,
    close_to_all,
    count_sessions,
    create_database_like,
    drop_database,
    end_sessions,
    open_to,
    read_database,
    rename_pair,
    require_database,
)
from blocks.postgres.programs import find_programs_for
from tasks.archive import Target, archive_of, restore_into
from tasks.ledger import current_run, effect
from tasks.restore_plan import MAINTENANCE_DATABASE, RestorePlan, restore_url
from tasks.retry import is_passing
from tasks.transfer_progress import TransferProgress
from tasks.verification import check_assertions, compare_content

T = TypeVar("T")
QUIET_SECONDS = 20
"""How long sessions that were ended have for going away."""


class NamesBefore(BaseModel):
    """Which database bears which name, before the switch and after it."""

    live: str
    live_oid: int
    new_oid: int
    kept: str
    """What the live one is called after the switch."""
    new: str
    """What the new one is called before it, and again after a switch back."""
    backup: str
    may_connect: list[str]
    """Who may connect to the live one; empty text: everybody."""


def names_before(plan: RestorePlan, created: Database) -> NamesBefore:
    return NamesBefore(
        live=plan.live.name,
        live_oid=plan.live.oid,
        new_oid=created.oid,
        kept=plan.kept_name,
        new=plan.new_name,
        backup=plan.backup.id,
        may_connect=sorted(plan.live.may_connect),
    )


# Repeating is safe: who is refused stays refused, and a session that is gone stays gone.
@task(name="Stop writes", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=1, retry_condition_fn=is_passing)
def stop_writes(environment: Environment, oid: int) -> None:
    """Refuse every role but the restoring one, and end all sessions. Raises RefusedByPlatform for one that stays."""
    with _connected(environment) as connection:
        database = require_database(connection, oid=oid)
        with effect("stop writes", database=database.name, oid=oid):
            _translated(lambda: close_to_all(connection, database))
            _quiet(connection, database)


# Repeating is safe: privileges are set as a whole.
@task(name="Resume writes", cache_policy=NO_CACHE, retries=10, retry_delay_seconds=1, retry_condition_fn=is_passing)
def open_database(environment: Environment, oid: int, may_connect: list[str]) -> None:
    """Let those connect who could before. One that is gone needs nobody to connect to it."""
    with _connected(environment) as connection:
        database = read_database(connection, oid=oid)
        if database is None or database.may_connect == set(may_connect):
            return
        with effect("resume writes", database=database.name, oid=oid):
            _translated(lambda: open_to(connection, database, set(may_connect)))


# Repeating is safe: a database of this run's own name is found again.
@task(name="Create database", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=1, retry_condition_fn=is_passing)
def create_new_database(environment: Environment, plan: RestorePlan) -> Database:
    with _connected(environment) as connection:
        found = read_database(connection, plan.new_name)
        if found:
            return found
        with effect("create database", database=plan.new_name):
            return _translated(lambda: create_database_like(connection, plan.live, plan.new_name))


# Never repeated by itself: what a first attempt left in the database is in the way of a second.
@task(name="Restore into new database", cache_policy=NO_CACHE)
def restore_into_new(environment: Environment, plan: RestorePlan) -> None:
    manifest, progress = plan.backup, TransferProgress(f"Restoring {plan.backup.id}", plan.backup.content_bytes)
    roles = set(manifest.roles) | {manifest.owner}
    options = ["--no-subscriptions", *([f"--role={manifest.owner}"] if len(roles) == 1 else [])]
    with effect("restore", database=plan.new_name, backup=manifest.id):
        restore_into(_target(environment, plan), archive_of(environment, manifest), options, progress.show)
    progress.finish()


# Repeating is safe: it only reads.
@task(name="Verify restored database", cache_policy=NO_CACHE)
def verify_restored(environment: Environment, plan: RestorePlan) -> None:
    """Raises BackupIsBad when a row differs from the backup's, or an assertion does not hold."""
    target = _target(environment, plan)
    findings = [*compare_content(plan.backup, target), *check_assertions(environment.backups.assertions, target)]
    if findings:
        raise BackupIsBad(f"What was restored from {plan.backup.id} is not what was backed up: {' '.join(findings)}")


# Repeating is safe: every setting is set to what the live database has.
@task(
    name="Carry over settings", cache_policy=NO_CACHE, retries=2, retry_delay_seconds=1, retry_condition_fn=is_passing
)
def carry_over_settings(environment: Environment, plan: RestorePlan) -> list[str]:
    """What no dump carries, and the planner's statistics; returns what could not be carried over."""
    with effect("carry over settings", database=plan.new_name):
        with _connected(environment) as connection:
            left = _translated(lambda: carry_over(connection, plan.live, plan.new_name))
        with connect(restore_url(environment), current_run().id, plan.new_name) as connection:
            _translated(lambda: connection.execute("ANALYZE"))
    return left


# Repeating is safe: it looks which database bears the name.
@task(name="Switch databases", cache_policy=NO_CACHE, retries=5, retry_delay_seconds=0.5, retry_condition_fn=is_passing)
def switch_databases(environment: Environment, before: NamesBefore) -> None:
    """The new database takes the live name, in one transaction. Raises SomebodyElseChangedIt."""
    with _connected(environment) as connection:
        bearer = require_database(connection, before.live)
        if bearer.oid == before.new_oid:
            return
        if bearer.oid != before.live_oid:
            raise _not_explained(before, bearer)
        new = require_database(connection, oid=before.new_oid)
        with effect("switch databases", **before.model_dump()):
            _quiet(connection, bearer)
            _translated(lambda: rename_pair(connection, (before.live, before.kept), (new.name, before.live)))


# Repeating is safe: it looks which database bears the name.
@task(
    name="Switch databases back",
    cache_policy=NO_CACHE,
    retries=20,
    retry_delay_seconds=1,
    retry_condition_fn=is_passing,
)
def switch_back(environment: Environment, before: NamesBefore) -> None:
    """Both databases are called again what they were called before the switch."""
    with _connected(environment) as connection:
        bearer = require_database(connection, before.live)
        if bearer.oid == before.live_oid:
            return
        old = read_database(connection, oid=before.live_oid)
        if bearer.oid != before.new_oid or old is None:
            raise _not_explained(before, bearer)
        with effect("switch databases back", **before.model_dump()):
            _quiet(connection, bearer)
            _translated(lambda: rename_pair(connection, (before.live, before.new), (old.name, before.live)))


def is_switched(environment: Environment, before: NamesBefore) -> bool:
    """Whether the application finds the restored database. Raises SomebodyElseChangedIt when it finds a third one."""
    with _connected(environment) as connection:
        bearer = require_database(connection, before.live)
    if bearer.oid not in (before.live_oid, before.new_oid):
        raise _not_explained(before, bearer)
    return bearer.oid == before.new_oid


# Repeating is safe: what is gone stays gone.
@task(name="Drop database", cache_policy=NO_CACHE, retries=5, retry_delay_seconds=1, retry_condition_fn=is_passing)
def drop_new_database(environment: Environment, name: str) -> None:
    """Only a database of this very name, which no application has ever had."""
    with _connected(environment) as connection:
        database = read_database(connection, name)
        if database is None:
            return
        with effect("drop database", database=name):
            _translated(lambda: drop_database(connection, database))


def _connected(environment: Environment) -> Connection:
    return connect(restore_url(environment), current_run().id, MAINTENANCE_DATABASE, statement_seconds=60)


def _target(environment: Environment, plan: RestorePlan) -> Target:
    manifest: Manifest = plan.backup
    least = max(manifest.server_version // 10_000, int(manifest.dump_version.partition(".")[0]))
    return Target(restore_url(environment), plan.new_name, find_programs_for(least))


def _quiet(connection: Connection, database: Database) -> None:
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


def _not_explained(before: NamesBefore, bearer: Database) -> SomebodyElseChangedIt:
    return SomebodyElseChangedIt(
        f"{before.live} is database {bearer.oid} now. Before this run it was {before.live_oid};"
        f" the run made {before.new_oid}, and neither of them bears the name."
    )


def _translated(act: Callable[[], T]) -> T:
    try:
        return act()
    except psycopg.OperationalError as error:
        raise Unreachable(f"The database server went away ({type(error).__name__}).") from None
    except psycopg.errors.ObjectInUse as error:
        raise Unreachable(f"The database is in use: {error.diag.message_primary}.") from None
    except psycopg.Error as error:
        raise RefusedByPlatform(f"The database server refuses: {error.diag.message_primary}.") from None
