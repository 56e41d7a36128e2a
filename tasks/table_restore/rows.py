"""SQL about rows: those of a table beside those of another one, by the primary key, or as whole rows without one."""

from collections.abc import Sequence
from typing import LiteralString, NamedTuple

from psycopg import sql

from blocks.postgres.connection import Connection
from tasks.database_content import END_OF_ROWS, RowsDigest


class Sides(NamedTuple):
    """A live table, and how its rows are told apart and compared."""

    live: sql.Identifier
    key: list[str]
    """Empty: by the whole row."""
    compared: list[str]
    """Columns whose values make two rows the same."""


def fill(statement: LiteralString, sides: Sides, **parts: sql.Composable) -> sql.Composed:
    """The statement with `{live}`, and with `parts`."""
    return sql.SQL(statement).format(live=sides.live, **parts)


def same_key(sides: Sides, left: LiteralString, right: LiteralString) -> sql.Composed:
    pairs = [
        sql.SQL("{}.{} = {}.{}").format(sql.SQL(left), sql.Identifier(name), sql.SQL(right), sql.Identifier(name))
        for name in sides.key
    ]
    return sql.SQL("(") + sql.SQL(" AND ").join(pairs) + sql.SQL(")")


def content(columns: Sequence[str], of: LiteralString) -> sql.Composed:
    """A row as text: it compares the types that have no equality, too, and those that changed since."""
    return sql.SQL("ROW({})::text").format(listed(columns, of))


def same_content(sides: Sides, left: LiteralString, right: LiteralString) -> sql.Composed:
    return sql.SQL("{} = {}").format(content(sides.compared, left), content(sides.compared, right))


def listed(columns: Sequence[str], of: LiteralString = "") -> sql.Composed:
    names = [sql.Identifier(of, name) if of else sql.Identifier(name) for name in columns]
    return sql.SQL(", ").join(names)


def count(connection: Connection, statement: sql.Composed) -> int:
    """The first value of a query that counts."""
    row = connection.execute(statement).fetchone()
    return int(str(row[0])) if row else 0


def digest_of(connection: Connection, table: sql.Composable, columns: list[str]) -> RowsDigest:
    """Of all rows, as a backup takes it."""
    digest = RowsDigest()
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    listed = sql.SQL("({})").format(names) if columns else sql.SQL("")
    with connection.cursor().copy(sql.SQL("COPY {} {} TO STDOUT").format(table, listed)) as copy:
        for chunk in copy:
            digest.update(bytes(chunk))
    digest.update(END_OF_ROWS)
    return digest


def count_unpaired(connection: Connection, sides: Sides, other: sql.Composable) -> tuple[int, int]:
    """How many whole rows stand only in the other table, and only in the live one."""
    statement = fill(_UNPAIRED, sides, other=other, l=content(sides.compared, "l"), o=content(sides.compared, "o"))
    row = connection.execute(statement).fetchone() or (0, 0)
    return int(str(row[0])), int(str(row[1]))


_UNPAIRED: LiteralString = """
SELECT coalesce(sum(greatest(coalesce(theirs, 0) - coalesce(ours, 0), 0)), 0),
       coalesce(sum(greatest(coalesce(ours, 0) - coalesce(theirs, 0), 0)), 0)
FROM (SELECT {o} AS content, count(*) AS theirs FROM {other} o GROUP BY 1) others
FULL JOIN (SELECT {l} AS content, count(*) AS ours FROM ONLY {live} l GROUP BY 1) lives USING (content)
"""
