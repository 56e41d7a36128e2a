"""Rehearse a migration on a restored copy: how long it takes, what it locks and rewrites, whether the running release
works on it, and whether it leads back.
"""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import LiteralString, NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel

from blocks.environment import Environment
from blocks.errors import BackstopError, Refused
from blocks.manifest import Manifest
from blocks.migrations.interface import MigrationFailed, MigrationStatus, Workspace
from blocks.postgres.connection import as_role, connect
from blocks.postgres.lock_sampler import HeldLock, sampled_locks
from blocks.postgres.schema import Change, read_invalid, read_schema, schema_change, schema_difference
from tasks.archive import Target, archive_of, restore_into
from tasks.ledger import current_run
from tasks.migration_workspace import tool_of
from tasks.transfer_progress import TransferProgress
from tasks.trial import TrialResult, try_running_release
from tasks.verification import compare_content, proof_target

_HOLD_UP: LiteralString = """
CREATE SCHEMA backstop_rehearsal;
CREATE FUNCTION backstop_rehearsal.hold_up() RETURNS event_trigger LANGUAGE plpgsql
AS 'BEGIN PERFORM pg_catalog.pg_sleep(0.03); END';
CREATE EVENT TRIGGER backstop_rehearsal ON ddl_command_end EXECUTE FUNCTION backstop_rehearsal.hold_up()
"""
_FILES: LiteralString = """
SELECT n.nspname || '.' || c.relname, pg_relation_filenode(c.oid) FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
"""
_COLUMNS: LiteralString = """
SELECT n.nspname || '.' || c.relname, a.attname::text FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
"""


class TableLock(BaseModel):
    table: str
    mode: str
    seconds: float
    stops: str
    """What of others waits meanwhile."""
    rewritten: bool


class WayBack(BaseModel):
    """What the down-migration did on the copy."""

    difference: str
    """Of the schema afterwards from the one before; empty when it is exact."""
    losses: list[str]
    """Content that did not come back, a sentence each."""
    problem: str = ""
    """Why there is no way back."""

    @property
    def is_exact(self) -> bool:
        return not (self.problem or self.difference or self.losses)


class Rehearsal(BaseModel):
    """What the migration did on a copy."""

    backup: str
    applied_before: list[str]
    applied: list[str]
    seconds: float
    tables: list[TableLock]
    went: list[str]
    came: list[str]
    """Lines of the schema, as `schema_change` has them."""
    added_columns: list[tuple[str, str]]
    """(table, column) that the way back would drop, with what was written there."""
    trial: TrialResult
    way_back: WayBack

    @property
    def change(self) -> Change:
        return frozenset(self.went), frozenset(self.came)

    @property
    def blocked_seconds(self) -> float:
        """The longest time in which others would have waited for one table."""
        return max((table.seconds for table in self.tables if table.stops != "nothing"), default=0.0)


class _Copy(NamedTuple):
    workspace: Workspace
    target: Target
    record_table: str

    def read_schema(self) -> str:
        target = self.target
        return read_schema(target.url, target.programs, current_run().id, target.database, self.record_table)

    def rows(self, statement: LiteralString) -> set[tuple[str, object]]:
        with connect(self.target.url, current_run().id, self.target.database) as connection:
            return {(str(name), value) for name, value in connection.execute(statement).fetchall()}


# Repeating is safe: every attempt has a copy of its own.
@task(name="Rehearse migration", cache_policy=NO_CACHE)
def rehearse(environment: Environment, workspace: Workspace, manifest: Manifest, live: MigrationStatus) -> Rehearsal:
    """Restore the backup, apply what is pending, go back. Raises MigrationFailed, Refused for a copy that differs."""
    tool = tool_of(environment)
    with _copy_of(environment, workspace, manifest) as copy:
        before = copy.read_schema()
        _require_same(tool.read_status(copy.workspace), live, manifest)
        files, columns = copy.rows(_FILES), copy.rows(_COLUMNS)
        began = time.monotonic()
        with (
            _ddl_held_up(copy.target),
            sampled_locks(copy.target.url, copy.target.database, current_run().id) as sampler,
        ):
            tool.apply(copy.workspace, tool.limits)
        seconds, after, status = time.monotonic() - began, copy.read_schema(), tool.read_status(copy.workspace)
        if status.pending:
            raise MigrationFailed(f"After the rehearsal {len(status.pending)} migrations are still pending.")
        _require_valid(copy)
        went, came = schema_change(before, after)
        rewritten = {name for name, _ in files - copy.rows(_FILES)}
        tables = [_table(lock, rewritten) for lock in sampler.strongest()]
        return Rehearsal(
            backup=manifest.id,
            applied_before=live.applied,
            applied=status.applied,
            seconds=seconds,
            tables=tables,
            went=sorted(went),
            came=sorted(came),
            added_columns=sorted(
                (table, str(column))
                for table, column in copy.rows(_COLUMNS) - columns
                if table.partition(".")[2] != copy.record_table
            ),
            trial=try_running_release(environment, copy.target, manifest),
            way_back=_go_back(environment, copy, before, live, manifest),
        )


@contextmanager
def _copy_of(environment: Environment, workspace: Workspace, manifest: Manifest) -> Iterator[_Copy]:
    progress = TransferProgress(f"Restoring {manifest.id} for the rehearsal", manifest.content_bytes)
    with proof_target(environment, manifest) as (target, options):
        restore_into(target, archive_of(environment, manifest), options, progress.show)
        progress.finish()
        url = as_role(_in_database(target), manifest.owner)
        yield _Copy(workspace._replace(url=url), target, tool_of(environment).record_table)


@contextmanager
def _ddl_held_up(target: Target) -> Iterator[None]:
    """Every statement that changes the schema takes a little longer, so that its lock is seen."""
    with connect(target.url, current_run().id, target.database) as connection:
        with suppress(psycopg.errors.InsufficientPrivilege):  # a scratch server's role may be no superuser
            connection.execute(_HOLD_UP)
        try:
            yield
        finally:
            connection.execute("DROP SCHEMA IF EXISTS backstop_rehearsal CASCADE")


def _in_database(target: Target) -> str:
    parts = urlsplit(target.url)
    return urlunsplit(parts._replace(path=f"/{quote(target.database, safe='')}"))


def _require_same(copy: MigrationStatus, live: MigrationStatus, manifest: Manifest) -> None:
    if copy.applied != live.applied:
        raise Refused(
            f"{manifest.id} is at revision {copy.revision or 'none'}, the live database at {live.revision or 'none'}:"
            " a rehearsal on it would prove nothing.",
            "Make a backup now and prove it. Nothing was changed.",
        )


def _require_valid(copy: _Copy) -> None:
    with connect(copy.target.url, current_run().id, copy.target.database) as connection:
        invalid = [found for found in read_invalid(connection) if found.kind == "index"]
    if invalid:
        raise MigrationFailed(f"The rehearsal left behind {', '.join(map(str, invalid))}, which is invalid.")


def _go_back(environment: Environment, copy: _Copy, before: str, live: MigrationStatus, manifest: Manifest) -> WayBack:
    tool = tool_of(environment)
    try:
        tool.revert(copy.workspace, live.revision, tool.limits)
    except BackstopError as error:
        return WayBack(difference="", losses=[], problem=error.message)
    difference = schema_difference(before, copy.read_schema())
    of_record = re.compile(rf"\S+\.{re.escape(copy.record_table)} ")
    losses = [finding for finding in compare_content(manifest, copy.target) if not of_record.match(finding)]
    return WayBack(difference=difference, losses=losses)


def _table(lock: HeldLock, rewritten: set[str]) -> TableLock:
    return TableLock(
        table=lock.table,
        mode=lock.mode,
        seconds=round(lock.seconds, 2),
        stops=lock.stops,
        rewritten=lock.table in rewritten,
    )
