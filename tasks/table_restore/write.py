"""Rows of a backup into the live tables, and back again: in one transaction each, with what it changes kept beside."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from graphlib import CycleError, TopologicalSorter

import psycopg
from prefect import task
from prefect.cache_policies import NO_CACHE
from psycopg import sql
from pydantic import BaseModel

from blocks.environment import Environment
from blocks.errors import Refused, RefusedByPlatform, SomebodyElseChangedIt
from blocks.postgres.connection import Connection
from blocks.postgres.tables import (
    Table,
    raise_sequences,
    read_parents,
    read_table,
    read_triggers,
    switch_triggers_back,
    switch_triggers_off,
)
from tasks.effect import effect
from tasks.ledger import current_run
from tasks.retry import is_passing
from tasks.table_restore.changes import TableChange, count_unlike, delete_rows, keep_after, keep_before, write_rows
from tasks.table_restore.model import TableRestorePlan
from tasks.table_restore.names import is_accepted
from tasks.table_restore.plan import refuse_losses
from tasks.table_restore.session import end_sessions_of_run, live_session

BUSY_SECONDS = 20
"""How long a free moment of the tables is waited for. Nobody queues behind the waiting."""
_LOOK_SECONDS = 0.02
EFFECT = "write rows of a backup"


class Change(BaseModel):
    """What a merge or replacement did, as its undo has to know it."""

    run_id: str
    backup: str
    merge: bool
    owner: str
    before: str
    """The schema that has the rows as they were. It exists only if the change was committed."""
    after: str
    """The schema that has them as they were written."""
    tables: list[TableChange]


def change_of(plan: TableRestorePlan) -> Change:
    tables = [
        TableChange(
            schema_name=table.content.schema_name,
            name=table.content.name,
            oid=table.live.oid,
            place=table.place,
            key=table.key,
            columns=table.content.columns,
        )
        for table in plan.tables
        if table.live
    ]
    return Change(
        run_id=current_run().id,
        backup=plan.backup.id,
        merge=plan.mode == "merge",
        owner=plan.owner,
        before=plan.before,
        after=plan.after,
        tables=tables,
    )


# Never repeated by itself: the first attempt may have been committed. Its undo looks.
@task(name="Write rows", cache_policy=NO_CACHE)
def write_rows_of_backup(
    environment: Environment, plan: TableRestorePlan, change: Change, accept_loss: str
) -> list[str]:
    """One transaction: all tables, or none. Returns what was written, a sentence each.

    Raises Refused for a loss that nobody accepted, RefusedByPlatform for what the database's rules forbid.
    """
    with (
        live_session(environment) as connection,
        _locked(connection, change) as live,
        effect(EFFECT, **change.model_dump()),
    ):
        _make_schemas(connection, change)
        kept = [_keep(connection, change, one, live[one.oid], plan.restored) for one in change.tables]
        refuse_losses([table for table, (old, _) in zip(plan.tables, kept, strict=True) if old], accept_loss)
        _lead(connection, change, live, change.before, change.after)
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(plan.restored)))
        connection.commit()
    return [
        f"{one.title}: {new} rows written, {old} rows of before changed or taken away."
        for one, (old, new) in zip(change.tables, kept, strict=True)
    ]


# Repeating is safe: it looks whether there is something to put back.
@task(name="Put rows back", cache_policy=NO_CACHE, retries=10, retry_delay_seconds=1, retry_condition_fn=is_passing)
def put_rows_back(environment: Environment, change: Change, accept_loss: str) -> bool:
    """The rows as they were; whether there was something to put back. What was kept is dropped with it.

    Raises Refused for rows that somebody changed since, unless their table is accepted as a loss.
    """
    with live_session(environment) as connection:
        end_sessions_of_run(connection, change.run_id)
        if not is_kept(connection, change):
            return False
        with _locked(connection, change) as live:
            _refuse_changed_since(connection, change, accept_loss)
            with effect("put rows back", **change.model_dump()):
                _lead(connection, change, live, change.after, change.before)
                for schema in (change.before, change.after):
                    connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))
                connection.commit()
    return True


def find_last_change(environment: Environment) -> Change:
    """The newest one whose rows of before are still kept. Raises Refused where there is none."""
    rows = current_run().connection.execute(
        "SELECT detail FROM audit WHERE environment = %s AND event = 'effect done' AND detail->>'effect' = %s"
        " ORDER BY sequence DESC",
        [environment.environment, EFFECT],
    )
    with live_session(environment) as connection:
        for row in rows:
            change = Change.model_validate(row["detail"])
            if is_kept(connection, change):
                return change
    raise Refused(f"No rows are kept in {environment.environment} from before a merge or replacement.")


def is_kept(connection: Connection, change: Change) -> bool:
    return bool(connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [change.before]).fetchone())


@contextmanager
def _locked(connection: Connection, change: Change) -> Iterator[dict[int, Table]]:
    """A transaction in which nobody else writes to the tables; others may read. By oid, the tables as they are.

    What is not committed in it is rolled back at its end.
    """
    connection.execute("BEGIN")
    try:
        _lock(connection, change)
        yield {one.oid: _require_same(connection, one) for one in change.tables}
    finally:
        connection.rollback()


def _lock(connection: Connection, change: Change) -> None:
    """In a free moment: who waits for a lock in a queue makes everybody behind it wait, too."""
    names = sql.SQL(", ").join(sql.SQL("ONLY {}").format(one.sides.live) for one in change.tables)
    statement = sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE NOWAIT").format(names)
    deadline = time.monotonic() + BUSY_SECONDS
    while time.monotonic() < deadline:
        with suppress(psycopg.errors.LockNotAvailable), connection.transaction():
            connection.execute(statement)
            return
        time.sleep(_LOOK_SECONDS)
    raise RefusedByPlatform(
        f"Somebody has been writing to {', '.join(one.title for one in change.tables)} for {BUSY_SECONDS} s.",
        "Try again at a quieter time, or end the long transaction.",
    )


def _require_same(connection: Connection, change: TableChange) -> Table:
    found = read_table(connection, change.schema_name, change.name)
    if found is None or found.oid != change.oid:
        raise SomebodyElseChangedIt(f"{change.title} is another table now, or gone.")
    return found


def _make_schemas(connection: Connection, change: Change) -> None:
    for schema in (change.before, change.after):
        statement = sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}")
        connection.execute(statement.format(sql.Identifier(schema), sql.Identifier(change.owner)))


def _keep(connection: Connection, change: Change, table: TableChange, live: Table, restored: str) -> tuple[int, int]:
    """Write down what the table has and what it will have; returns how many rows of each."""
    old = keep_before(connection, table, live, change.before, restored, change.merge)
    new = keep_after(connection, table, change.after, restored, change.merge)
    for schema in (change.before, change.after):
        statement = sql.SQL("ALTER TABLE {} OWNER TO {}")
        connection.execute(statement.format(table.place_in(schema), sql.Identifier(change.owner)))
        connection.execute(sql.SQL("ANALYZE {}").format(table.place_in(schema)))
    return old, new


def _lead(connection: Connection, change: Change, live: dict[int, Table], old: str, new: str) -> None:
    """All tables from the one state to the other. Raises RefusedByPlatform when they do not arrive there."""
    tables = _parents_first(connection, change.tables, live)
    triggers = {one.oid: read_triggers(connection, live[one.oid]) for one in tables}
    for one in tables:
        switch_triggers_off(connection, live[one.oid], triggers[one.oid])
    connection.execute("SET CONSTRAINTS ALL DEFERRED")
    for one in reversed(tables):
        delete_rows(connection, one, one.place_in(old), one.place_in(new), live[one.oid])
    for one in tables:
        kept = read_table(connection, new, one.place)
        write_rows(connection, one, one.place_in(new), list(kept.columns) if kept else [])
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for one in tables:
        if count_unlike(connection, one, one.place_in(old), one.place_in(new)):
            raise RefusedByPlatform(f"A rule of {one.title} changes what is written to it; all was left as it was.")
        raise_sequences(connection, live[one.oid])
        switch_triggers_back(connection, live[one.oid], triggers[one.oid])


def _parents_first(connection: Connection, tables: Sequence[TableChange], live: dict[int, Table]) -> list[TableChange]:
    """So that foreign keys hold. Where they go in a circle, they have to be deferrable."""
    by_oid = {one.oid: one for one in tables}
    graph = {oid: read_parents(connection, live[oid]) & by_oid.keys() for oid in by_oid}
    try:
        return [by_oid[oid] for oid in TopologicalSorter(graph).static_order()]
    except CycleError:
        return list(tables)


def _refuse_changed_since(connection: Connection, change: Change, accept_loss: str) -> None:
    changed = []
    for one in change.tables:
        rows = count_unlike(connection, one, one.place_in(change.before), one.place_in(change.after))
        if rows and not is_accepted(accept_loss, one.schema_name, one.name):
            changed.append((one.title, rows))
    if changed:
        told = "; ".join(f"{title}: {rows} rows" for title, rows in changed)
        raise Refused(
            f"Rows were changed since they were written out of {change.backup}: {told}.",
            f"Accept that they are lost with accept_loss={','.join(title for title, _ in changed)}."
            " Nothing was changed.",
        )
