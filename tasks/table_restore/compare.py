"""How the rows of a backup and the live ones differ: counts, and keys. No other value leaves the database."""

from collections.abc import Iterator
from typing import LiteralString

from prefect import task
from prefect.cache_policies import NO_CACHE
from psycopg import sql
from pydantic import BaseModel

from blocks.environment import Environment
from blocks.errors import Unmet
from blocks.postgres.connection import Connection
from blocks.postgres.tables import read_table
from tasks.ledger import current_run
from tasks.markdown import plain
from tasks.run_page import show_page
from tasks.table_restore.model import TablePlan, TableRestorePlan
from tasks.table_restore.rows import Sides, content, count_unpaired, fill
from tasks.table_restore.session import live_session

SHOWN_KEYS = 10
_KEY_LENGTH = 60
ONLY_BACKUP, ONLY_LIVE, DIFFERING = "only in the backup", "only live", "differing"


class Comparison(BaseModel):
    """Of one table."""

    table: str
    place: str
    """Where the rows of the backup are, as schema.table."""
    rows: int
    """In the backup."""
    counts: dict[str, int]
    """Kind of difference → rows."""
    keys: dict[str, list[str]]
    """Kind of difference → the first keys."""
    retyped: list[str]
    """Columns whose type is another one now, a few words each."""
    notes: list[str]

    def __str__(self) -> str:
        found = [f"{number} {kind}" for kind, number in self.counts.items() if number]
        differences = ", ".join(found) or ("not compared" if self.notes else "no difference")
        return " ".join([f"{self.table} ({self.rows} rows in the backup): {differences}.", *self.notes])


# Repeating is safe: it only reads.
@task(name="Compare tables", cache_policy=NO_CACHE)
def compare_tables(environment: Environment, plan: TableRestorePlan) -> list[Comparison]:
    """The restored rows beside the live ones, all at one moment. Raises Unmet where they cannot be written back."""
    with live_session(environment) as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        comparisons = [_compare(connection, plan, table) for table in plan.tables]
    retyped = [f"{one.table}: {column}" for one in comparisons for column in one.retyped]
    if retyped and plan.mode != "beside":
        raise Unmet(f"Columns have another type than in the backup ({'; '.join(retyped)}).", "Use mode=beside.")
    return comparisons


def publish_comparison(plan: TableRestorePlan, comparisons: list[Comparison]) -> None:
    counts = {one.table: one.counts for one in comparisons}
    current_run().record("tables compared", schema=plan.restored, differences=counts)
    current_run().facts["differences"] = counts
    show_page("\n".join(_page(plan, comparisons)), key="comparison", description="Backup and live rows")


def _compare(connection: Connection, plan: TableRestorePlan, table: TablePlan) -> Comparison:
    place = sql.Identifier(plan.restored, table.place)
    restored = read_table(connection, plan.restored, table.place)
    live, found = table.live, restored.columns if restored else {}
    types = live.columns if live else {}
    retyped = [name for name in table.shared if types[name] != found[name]]
    comparison = Comparison(
        table=table.title,
        place=f"{plan.restored}.{table.place}",
        rows=table.content.rows,
        counts={},
        keys={},
        retyped=[f"{name} is {types[name]}, {found[name]} in the backup" for name in retyped],
        notes=list(_notes(table)),
    )
    if live is None:
        return comparison
    if table.key and not set(retyped) & set(table.key):
        sides = Sides(live.identifier, table.key, table.shared)
        _count_by_key(connection, sides, place, comparison)
    else:
        sides = Sides(live.identifier, [], table.shared)
        only_backup, only_live = count_unpaired(connection, sides, place)
        comparison.counts |= {ONLY_BACKUP: only_backup, ONLY_LIVE: only_live}
    return comparison


def _notes(table: TablePlan) -> Iterator[str]:
    if table.live is None:
        yield "There is no such table any more."
        return
    if not table.key:
        yield "Without a primary key, whole rows were compared."
    if table.gone:
        yield f"Columns that the live table has no more: {', '.join(table.gone)}."
    if table.added:
        yield f"Columns added since: {', '.join(table.added)}."


def _count_by_key(connection: Connection, sides: Sides, place: sql.Identifier, into: Comparison) -> None:
    names = [sql.Identifier(f"key_{number}") for number in range(len(sides.key))]
    statement = fill(
        _DIFFERENCES,
        sides,
        restored=place,
        named=_named(sides.key, names),
        theirs=content(sides.compared, "o"),
        ours=content(sides.compared, "l"),
        keys=sql.SQL(", ").join(names),
        shown=sql.SQL(", ").join(
            sql.SQL("left({}::text, {})").format(name, sql.Literal(_KEY_LENGTH)) for name in names
        ),
        kinds=sql.SQL(", ").join(map(sql.Literal, (ONLY_BACKUP, ONLY_LIVE, DIFFERING))),
        most=sql.Literal(SHOWN_KEYS),
    )
    into.counts |= {ONLY_BACKUP: 0, ONLY_LIVE: 0, DIFFERING: 0}
    for kind, total, key in connection.execute(statement):
        into.counts[str(kind)] = int(str(total))
        into.keys.setdefault(str(kind), []).append(str(key))


def _named(key: list[str], names: list[sql.Identifier]) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("{} AS {}").format(sql.Identifier(column), name) for column, name in zip(key, names, strict=True)
    )


def _page(plan: TableRestorePlan, comparisons: list[Comparison]) -> Iterator[str]:
    yield f"# Tables of {plan.backup.id} beside those of {plan.environment}"
    for one in comparisons:
        yield f"## {plain(one.table)}"
        yield f"{one.rows} rows in the backup, restored as {plain(one.place)}. {plain(' '.join(one.notes))}"
        yield from (f"- Another type now: {plain(column)}" for column in one.retyped)
        yield ""
        yield "| | rows | keys |"
        yield "|---|--:|---|"
        for kind, number in one.counts.items():
            keys = one.keys.get(kind, [])
            yield f"| {kind} | {number} | {plain(', '.join(keys))}{' …' if number > len(keys) > 0 else ''} |"


_DIFFERENCES: LiteralString = """
WITH pairs AS (
    SELECT CASE WHEN l.content IS NULL THEN 1 WHEN o.content IS NULL THEN 2 ELSE 3 END AS kind, {keys}
    FROM (SELECT {named}, {theirs} AS content FROM {restored} o) o
    FULL JOIN (SELECT {named}, {ours} AS content FROM ONLY {live} l) l USING ({keys})
    WHERE o.content IS DISTINCT FROM l.content
), numbered AS (
    SELECT *, count(*) OVER (PARTITION BY kind) AS total, row_number() OVER (PARTITION BY kind ORDER BY {keys}) AS place
    FROM pairs
)
SELECT (ARRAY[{kinds}])[kind], total, concat_ws(', ', {shown}) FROM numbered WHERE place <= {most} ORDER BY kind, place
"""
