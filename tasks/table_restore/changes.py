"""One table's rows from one state to another, both written down beside it, so that the same steps lead back."""

from typing import LiteralString

from psycopg import sql
from pydantic import BaseModel

from blocks.errors import RefusedByPlatform
from blocks.postgres.connection import Connection
from blocks.postgres.tables import Table, read_cascades, title_of
from tasks.table_restore.rows import Sides, count, count_unpaired, fill, listed, same_content, same_key


class TableChange(BaseModel):
    """What a merge or replacement does to one table: plain data, for the ledger."""

    schema_name: str
    name: str
    oid: int
    place: str
    """Its name in the schemas that keep the rows."""
    key: list[str]
    columns: list[str]
    """Those of the backup."""

    @property
    def title(self) -> str:
        return title_of(self.schema_name, self.name)

    @property
    def sides(self) -> Sides:
        return Sides(sql.Identifier(self.schema_name, self.name), self.key, self.columns)

    def place_in(self, schema: str) -> sql.Identifier:
        return sql.Identifier(schema, self.place)


def keep_before(connection: Connection, change: TableChange, live: Table, into: str, restored: str, merge: bool) -> int:
    """Copy the live rows that will change or vanish; returns how many."""
    which: LiteralString = _NO_EQUAL_ROW if change.key else "true"
    condition = fill("false", change.sides) if merge else _equal(change, which, change.place_in(restored), "l", "o")
    parts = {"into": change.place_in(into), "columns": listed(list(live.columns), "l"), "condition": condition}
    connection.execute(
        fill("CREATE TABLE {into} AS SELECT {columns} FROM ONLY {live} l WHERE {condition}", change.sides, **parts)
    )
    return count(connection, sql.SQL("SELECT count(*) FROM {}").format(change.place_in(into)))


def keep_after(connection: Connection, change: TableChange, into: str, restored: str, merge: bool) -> int:
    """Copy the rows of the backup that will be written; returns how many."""
    which: LiteralString = "true"
    if change.key:
        which = _NO_SUCH_KEY if merge else _NO_EQUAL_ROW
    condition = _equal(change, which, sql.SQL("ONLY {}").format(change.sides.live), "o", "l")
    parts = {"into": change.place_in(into), "restored": change.place_in(restored), "condition": condition}
    columns = listed(change.columns, "o")
    statement = "CREATE TABLE {into} AS SELECT {columns} FROM {restored} o WHERE {condition}"
    connection.execute(fill(statement, change.sides, columns=columns, **parts))
    return count(connection, sql.SQL("SELECT count(*) FROM {}").format(change.place_in(into)))


def delete_rows(
    connection: Connection, change: TableChange, old: sql.Identifier, new: sql.Identifier, live: Table
) -> None:
    """Those that are in the old state only. Raises RefusedByPlatform when rows of other tables would go with them."""
    vanishing = fill(_VANISHING if change.key else _ALL, change.sides, **_states(change, old, new))
    for reference in read_cascades(connection, live):
        pairs = zip(reference.columns, reference.referred, strict=True)
        statement = sql.SQL(_FOLLOWING).format(
            other=sql.Identifier(reference.schema_name, reference.name),
            vanishing=vanishing,
            refers=sql.SQL(" AND ").join(
                sql.SQL("r.{} = v.{}").format(sql.Identifier(column), sql.Identifier(referred))
                for column, referred in pairs
            ),
            itself=_vanishes_itself(change) if reference.oid == live.oid else sql.SQL("false"),
        )
        following = count(connection, statement)
        if following:
            raise RefusedByPlatform(
                f"{following} rows of {title_of(reference.schema_name, reference.name)} refer to rows of"
                f" {change.title} that would vanish, and would be deleted or emptied with them.",
                "Use mode=merge, or take those rows away first.",
            )
    connection.execute(fill(_DELETE if change.key else _DELETE_ALL, change.sides, **_states(change, old, new)))


def write_rows(connection: Connection, change: TableChange, new: sql.Identifier, columns: list[str]) -> None:
    """Those of the new state: what is there is changed to it, what is missing is inserted. `columns`: of `new`."""
    settable = [name for name in change.columns if name not in change.key]
    if change.key and settable:
        sets = sql.SQL(", ").join(sql.SQL("{0} = n.{0}").format(sql.Identifier(name)) for name in settable)
        equal = same_content(change.sides, "l", "n")
        update = fill(_UPDATE, change.sides, new=new, sets=sets, same=same_key(change.sides, "l", "n"), equal=equal)
        connection.execute(update)
    named = sql.SQL("({})").format(listed(columns)) if columns else sql.SQL("")
    condition = _equal(
        change, _NO_SUCH_KEY if change.key else "true", sql.SQL("ONLY {}").format(change.sides.live), "o", "l"
    )
    parts = {"named": named, "columns": listed(columns, "o"), "new": new, "condition": condition}
    connection.execute(fill(_INSERT, change.sides, **parts))


def count_unlike(connection: Connection, change: TableChange, old: sql.Identifier, new: sql.Identifier) -> int:
    """Rows of the two states that the live table does not hold as the new one says."""
    if not change.key:
        return sum(count_unpaired(connection, change.sides, new))
    equal = same_content(change.sides, "l", "n")
    return count(connection, fill(_UNLIKE, change.sides, **_states(change, old, new), equal=equal))


def _equal(
    change: TableChange, statement: LiteralString, other: sql.Composable, row: LiteralString, its: LiteralString
) -> sql.Composed:
    sides = change.sides
    if not sides.key:
        return fill(statement, sides)
    alias = sql.SQL(its)
    return fill(
        statement, sides, other=other, alias=alias, same=same_key(sides, row, its), equal=same_content(sides, row, its)
    )


def _states(change: TableChange, old: sql.Identifier, new: sql.Identifier) -> dict[str, sql.Composable]:
    if not change.key:
        return {}
    sides = change.sides
    pairs = {"l_o": same_key(sides, "l", "o"), "n_o": same_key(sides, "n", "o"), "l_n": same_key(sides, "l", "n")}
    return {"old": old, "new": new, **pairs}


def _vanishes_itself(change: TableChange) -> sql.Composable:
    if not change.key:
        return sql.SQL("true")
    return sql.SQL("EXISTS (SELECT FROM vanishing w WHERE {})").format(same_key(change.sides, "w", "r"))


_NO_SUCH_KEY: LiteralString = "NOT EXISTS (SELECT FROM {other} {alias} WHERE {same})"
_NO_EQUAL_ROW: LiteralString = "NOT EXISTS (SELECT FROM {other} {alias} WHERE {same} AND {equal})"
_ALL: LiteralString = "SELECT l.* FROM ONLY {live} l"
_VANISHING: LiteralString = """
SELECT l.* FROM ONLY {live} l JOIN {old} o ON {l_o} WHERE NOT EXISTS (SELECT FROM {new} n WHERE {n_o})
"""
_FOLLOWING: LiteralString = """
WITH vanishing AS ({vanishing})
SELECT count(*) FROM {other} r WHERE EXISTS (SELECT FROM vanishing v WHERE {refers}) AND NOT {itself}
"""
_DELETE: LiteralString = """
DELETE FROM ONLY {live} l USING {old} o WHERE {l_o} AND NOT EXISTS (SELECT FROM {new} n WHERE {n_o})
"""
_DELETE_ALL: LiteralString = "DELETE FROM ONLY {live}"
_UPDATE: LiteralString = "UPDATE ONLY {live} l SET {sets} FROM {new} n WHERE {same} AND NOT {equal}"
_INSERT: LiteralString = """
INSERT INTO {live} {named} OVERRIDING SYSTEM VALUE SELECT {columns} FROM {new} o WHERE {condition}
"""
_UNLIKE: LiteralString = """
SELECT (SELECT count(*) FROM {new} n WHERE NOT EXISTS (SELECT FROM ONLY {live} l WHERE {l_n} AND {equal}))
     + (SELECT count(*) FROM {old} o WHERE NOT EXISTS (SELECT FROM {new} n WHERE {n_o})
                                       AND EXISTS (SELECT FROM ONLY {live} l WHERE {l_o}))
"""
