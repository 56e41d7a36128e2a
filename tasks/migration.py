"""Apply migrations to the live database, find out what they did, and take them back."""

from collections.abc import Callable
from typing import Literal

import psycopg
from prefect import task
from prefect.cache_policies import NO_CACHE
from psycopg import sql
from pydantic import BaseModel

from blocks.environment import Environment
from blocks.errors import Refused
from blocks.migrations.interface import MigrationFailed, MigrationStatus, Workspace
from blocks.postgres.connection import connect
from blocks.postgres.databases import require_database
from blocks.postgres.lock_holders import wait_until_free
from blocks.postgres.schema import Invalid, read_invalid, schema_change, schema_digest
from tasks.effect import effect, read_last_effect
from tasks.ledger import current_run
from tasks.live_database import live_name, restore_url
from tasks.migration_plan import MigrationPlan, read_live_schema
from tasks.migration_workspace import tool_of
from tasks.question import Effect, Question, fingerprint_of
from tasks.server_session import connect_as_restorer, read_live_database, translate

_ASK_SECONDS = 60


class MigrationBefore(BaseModel):
    """What an undo returns to, and what the rehearsal showed about the way."""

    run_id: str
    version: str
    commit: str
    revision: str
    schema_sha256: str
    invalid: list[str]
    """Names of what was invalid before."""
    backup: str
    way_back: bool
    """Whether it brought schema and rows back exactly."""
    added_columns: list[tuple[str, str]]
    locks: dict[str, str]
    """Table → what its lock stopped of others in the rehearsal."""
    may_connect: list[str]
    """Who could connect before anything was done; empty text: everybody."""


class Way(BaseModel):
    """How to go back, and why so."""

    how: Literal["nothing", "drop invalid indexes", "down-migrations", "restore", "human"]
    why: str


def question_of_way_back(environment: str, before: MigrationBefore, accept_loss: str) -> Question:
    """What the approvers of taking a migration back decide on."""
    facts = {
        "migrated by run": before.run_id,
        "revision then": before.revision or "none",
        "backup made before": before.backup,
        "down-migrations": "seen to be exact" if before.way_back else "not exact, or never tried",
        "loss accepted by who asks": accept_loss or "none",
    }
    return Question(
        title=f"Take the migration of {environment} to {before.version} back",
        fingerprint=fingerprint_of(facts),
        facts=facts,
        effects=[
            Effect(
                what="goes the way that loses nothing: down-migrations, or the backup made before; else asks a human",
                undo="the same migration again",
            )
        ],
        losses=[f"what was written since, in: {accept_loss}"] if accept_loss else [],
    )


def migration_before(
    plan: MigrationPlan, backup: str, environment: Environment, may_connect: set[str]
) -> MigrationBefore:
    """Raises Refused where nothing was rehearsed."""
    rehearsal = plan.rehearsal
    if rehearsal is None:
        raise Refused("What was not rehearsed is not applied.")
    return MigrationBefore(
        run_id=current_run().id,
        version=plan.version,
        commit=plan.commit,
        revision=plan.status.revision,
        schema_sha256=plan.live_schema_sha256,
        invalid=[found.name for found in _read_invalid(environment)],
        backup=backup,
        way_back=rehearsal.way_back.is_exact,
        added_columns=rehearsal.added_columns,
        locks={table.table: table.stops for table in rehearsal.tables if table.stops != "nothing"},
        may_connect=sorted(may_connect),
    )


def find_last_migration(environment: Environment) -> MigrationBefore:
    """As the audit trail tells it. Raises Refused where this environment was never migrated."""
    found = read_last_effect(current_run(), "apply migrations", "effect intended")
    if found is None:
        raise Refused(f"{environment.environment} was never migrated by a run.")
    return MigrationBefore.model_validate(found)


# Never repeated by Prefect: a statement outside a transaction may have been applied. Tried again here only
# when a lock was not to be had and nothing has changed.
@task(name="Apply migrations", cache_policy=NO_CACHE)
def apply_migrations(environment: Environment, workspace: Workspace, before: MigrationBefore) -> None:
    """Raises MigrationFailed."""
    tool = tool_of(environment)
    with effect("apply migrations", **before.model_dump()):
        _with_lock_attempts(environment, before, lambda: tool.apply(workspace, tool.limits))


# Repeating is safe: it only reads.
@task(name="Verify migrated database", cache_policy=NO_CACHE)
def verify_migrated(
    environment: Environment, workspace: Workspace, plan: MigrationPlan, before: MigrationBefore, schema_before: str
) -> None:
    """Nothing pending, nothing invalid, and the schema changed as in the rehearsal. Raises MigrationFailed."""
    rehearsal = plan.rehearsal
    status = tool_of(environment).read_status(workspace)
    if status.pending or (rehearsal and status.applied != rehearsal.applied):
        raise MigrationFailed(f"After the migration the database is at {status.revision or 'no revision'}.")
    left = [str(found) for found in _read_invalid(environment) if found.name not in before.invalid]
    if left:
        raise MigrationFailed(f"The migration left behind {', '.join(left)}, which is invalid.")
    change = schema_change(schema_before, read_live_schema(environment))
    if rehearsal and change != rehearsal.change:
        unexpected = sorted((change[0] | change[1]) ^ (rehearsal.change[0] | rehearsal.change[1]))
        raise MigrationFailed(f"The schema did not change as rehearsed: {'; '.join(unexpected[:3])}")


def choose_way_back(environment: Environment, before: MigrationBefore, status: MigrationStatus) -> Way:
    """Look at what there is, and choose what loses nothing."""
    changed = schema_digest(read_live_schema(environment)) != before.schema_sha256
    left = [found for found in _read_invalid(environment) if found.name not in before.invalid]  # no dump shows them
    if status.revision == before.revision and not changed and not left:
        return Way(how="nothing", why="the schema is the one of before")
    if status.revision == before.revision and left and all(found.kind == "index" for found in left):
        return Way(how="drop invalid indexes", why="a concurrent build was left unfinished")
    stopped, written = writes_are_stopped(environment), read_written(environment, before)
    if before.way_back and status.revision != before.revision and (stopped or not written):
        return Way(how="down-migrations", why="the rehearsal proved them exact, and they lose nothing")
    if stopped:
        return Way(how="restore", why="nobody has written since the backup")
    why = f"the way back would lose {', '.join(written)}" if before.way_back else "there is no exact way back"
    return Way(how="human", why=f"{why}, and writes went on since {before.backup}")


def writes_are_stopped(environment: Environment) -> bool:
    """Whether nobody but the restoring role may connect, and nobody could since the writes were stopped."""
    with connect_as_restorer(environment) as connection:
        live = require_database(connection, live_name(environment))
        return live.may_connect <= {connection.info.user}


def read_written(environment: Environment, before: MigrationBefore) -> list[str]:
    """What stands in the columns that the way back would drop, as `public.tasks.due_at: 3 rows`."""
    written = []
    with connect(restore_url(environment), current_run().id, live_name(environment), _ASK_SECONDS) as connection:
        for table, column in before.added_columns:
            schema, _, name = table.partition(".")
            count = sql.SQL("SELECT count({}) FROM {}").format(sql.Identifier(column), sql.Identifier(schema, name))
            try:
                row = connection.execute(count).fetchone()
            except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn):
                continue
            if row and row[0]:
                written.append(f"{table}.{column}: {row[0]} rows")
    return written


# Repeating is safe: what was taken back is no longer applied.
@task(name="Revert migrations", cache_policy=NO_CACHE)
def revert_migrations(environment: Environment, workspace: Workspace, before: MigrationBefore) -> None:
    """Raises MigrationFailed."""
    tool = tool_of(environment)
    with effect("revert migrations", revision=before.revision):
        _with_lock_attempts(environment, before, lambda: tool.revert(workspace, before.revision, tool.limits))


# Repeating is safe: what is struck out stays so.
@task(name="Mark migration as rolled back", cache_policy=NO_CACHE)
def mark_rolled_back(environment: Environment, workspace: Workspace, migration: str) -> None:
    """Its record says that it began; the schema says that nothing of it is left."""
    with effect("mark migration as rolled back", migration=migration):
        tool_of(environment).mark_rolled_back(workspace, migration)


# Repeating is safe: what is gone stays gone.
@task(name="Drop invalid indexes", cache_policy=NO_CACHE)
def drop_invalid_indexes(environment: Environment, before: MigrationBefore) -> None:
    """What an unfinished concurrent build left behind, without blocking anybody."""
    with connect(restore_url(environment), current_run().id, live_name(environment)) as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(_owner(environment))))
        for found in read_invalid(connection):
            if found.kind == "index" and found.name not in before.invalid:
                with effect("drop invalid index", index=found.name):
                    drop = sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(
                        sql.Identifier(found.schema, found.name)
                    )
                    translate(lambda drop=drop: connection.execute(drop))  # type: ignore[misc]


def verify_schema_before(environment: Environment, before: MigrationBefore) -> None:
    """Raises MigrationFailed where the schema is not the one of before."""
    if schema_digest(read_live_schema(environment)) != before.schema_sha256:
        raise MigrationFailed("The schema is not the one of before the migration.")


def _with_lock_attempts(environment: Environment, before: MigrationBefore, change: Callable[[], None]) -> None:
    """Make the change when its tables are free; once more, so often, only when it did not get a lock."""
    tool = tool_of(environment)
    for attempt in range(1, tool.lock_attempts + 1):
        _wait_for_tables(environment, before)
        try:
            return change()
        except MigrationFailed as error:
            current_run().record("migration failed", attempt=attempt, lock=error.is_lock_timeout)
            if not error.is_lock_timeout or attempt == tool.lock_attempts:
                raise
    return None


def _wait_for_tables(environment: Environment, before: MigrationBefore) -> None:
    """Raises MigrationFailed, naming whoever does not let go of one that the migration locks."""
    seconds = tool_of(environment).patience_seconds
    with connect(restore_url(environment), current_run().id, live_name(environment)) as connection:
        holders = wait_until_free(connection, before.locks, seconds)
    if holders:
        raise MigrationFailed(
            f"The migration did not begin: {'; '.join(map(str, holders[:3]))} for more than {seconds:g} s.",
            "End that transaction, or start again when it is over.",
        )


def _read_invalid(environment: Environment) -> list[Invalid]:
    with connect(restore_url(environment), current_run().id, live_name(environment)) as connection:
        return read_invalid(connection)


def _owner(environment: Environment) -> str:
    return read_live_database(environment).owner
