"""What a restore of tables is about to do: read from the backup and from the live database, and refused in time."""

from collections.abc import Iterator
from datetime import UTC, datetime

from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.environment import Environment
from blocks.errors import Refused, Unmet
from blocks.manifest import TableContent
from blocks.postgres.connection import Connection
from blocks.postgres.tables import read_table
from tasks.catalogue import find_backup, parse_time
from tasks.ledger import current_run
from tasks.live_database import live_name
from tasks.table_restore.model import Mode, TablePlan, TableRestorePlan
from tasks.table_restore.names import choose_tables, is_accepted
from tasks.table_restore.prerequisites import check_tables
from tasks.table_restore.rows import digest_of
from tasks.table_restore.session import live_session

_NAME_BYTES = 63


@task(name="Plan restore of tables", cache_policy=NO_CACHE)
def plan_table_restore(environment: Environment, tables: str, which: str, at: str, mode: Mode) -> TableRestorePlan:
    """Read everything that the restore depends on. Raises BadParameter or Refused when it is impossible to say."""
    backup = find_backup(environment, which, parse_time(at))
    if backup.manifest.kind != "full":
        raise Refused(f"{backup.id} has the schema only: nothing can be restored from it.")
    chosen = choose_tables(tables, backup.manifest.tables)
    suffix = f"{datetime.now(UTC):%Y%m%d}_{current_run().id.replace('-', '')[:8]}"
    with live_session(environment) as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        planned = [_plan_table(connection, content, place) for content, place in _places(chosen)]
        lines = list(check_tables(connection, planned, mode, backup.is_proven))
        return TableRestorePlan(
            environment=environment.environment,
            database=live_name(environment),
            owner=_one(
                connection, "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
            ),
            backup=backup.manifest,
            mode=mode,
            tables=planned,
            restored=f"restored_{suffix}",
            before=f"before_{suffix}",
            after=f"after_{suffix}",
            prerequisites=lines,
            notes=list(_notes(connection, planned)),
        )


def require_possible(plan: TableRestorePlan, accept_loss: str) -> None:
    """Raises Unmet with every prerequisite that does not hold, Refused for a loss that nobody accepted."""
    unmet = [f"{line.name}: {line.detail}" for line in plan.prerequisites if not line.met]
    if unmet:
        raise Unmet(f"{plan.backup.id} cannot be used in {plan.environment} that way ({'; '.join(unmet)}).")
    refuse_losses([table for table in plan.tables if plan.mode == "replace" and table.loss], accept_loss)


def refuse_losses(changing: list[TablePlan], accept_loss: str) -> None:
    """Raises Refused unless `accept_loss` names every one of these tables."""
    refused = [one for one in changing if not is_accepted(accept_loss, one.content.schema_name, one.content.name)]
    if refused:
        told = "; ".join(str(one.loss or one.title) for one in refused)
        raise Refused(
            f"What was written since the backup would be lost or changed: {told}.",
            f"See which rows with mode=beside. Accept it with accept_loss={','.join(one.title for one in changing)}."
            " Nothing was changed.",
        )


def _places(chosen: list[TableContent]) -> Iterator[tuple[TableContent, str]]:
    """Tables of one name in several schemas get a number each."""
    taken: set[str] = set()
    for content in chosen:
        place, number = content.name, 1
        while place in taken:
            number += 1
            place = f"{content.name.encode()[: _NAME_BYTES - 4].decode(errors='ignore')}_{number}"
        taken.add(place)
        yield content, place


def _plan_table(connection: Connection, content: TableContent, place: str) -> TablePlan:
    live = read_table(connection, content.schema_name, content.name)
    if live is None:
        return TablePlan(content=content, live=None, place=place, rows_now=0, is_unchanged=False)
    digest = digest_of(connection, live.identifier, list(live.columns))
    unchanged = list(live.columns) == content.columns and digest.finish() == content.sha256
    return TablePlan(content=content, live=live, place=place, rows_now=digest.rows, is_unchanged=unchanged)


def _notes(connection: Connection, tables: list[TablePlan]) -> Iterator[str]:
    for table in tables:
        if table.added:
            added = ", ".join(table.added)
            yield f"{table.title} has columns that the backup has not; they get their default: {added}."
    rows = connection.execute("SELECT pubname::text FROM pg_publication WHERE puballtables").fetchall()
    yield from (f"Publication {name} publishes every table, those that this run keeps, too." for (name,) in rows)


def _one(connection: Connection, statement: str) -> str:
    row = connection.execute(statement.encode()).fetchone()
    return str(row[0]) if row else ""
