"""One table of a database: its columns, its key, what refers to it, and what happens to it when rows are written."""

import re
from typing import LiteralString, NamedTuple

from psycopg import sql
from pydantic import BaseModel

from blocks.postgres.connection import Connection

_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")


class Table(BaseModel):
    """An ordinary table or a partition. Its `oid` stays when it is renamed."""

    oid: int
    schema_name: str
    name: str
    owner: str
    is_owned: bool
    """By a role whose rights this connection has."""
    columns: dict[str, str]
    """Name → type, without generated ones, in their order."""
    key: list[str]
    """Columns of the primary key; empty without one."""

    @property
    def title(self) -> str:
        return title_of(self.schema_name, self.name)

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema_name, self.name)


class Trigger(NamedTuple):
    name: str
    state: str
    """`O` enabled, `D` disabled, `R` on a replica only, `A` always."""


class Reference(NamedTuple):
    """A foreign key that changes or deletes the rows it stands in when the row that they refer to is deleted."""

    oid: int
    schema_name: str
    name: str
    columns: list[str]
    referred: list[str]


def title_of(schema: str, name: str) -> str:
    """As SQL would write it: public.tasks, "Mixed Case"."Order"."""
    return f"{_quoted(schema)}.{_quoted(name)}"


def _quoted(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else '"{}"'.format(name.replace('"', '""'))


def read_table(connection: Connection, schema: str, name: str) -> Table | None:
    """None where there is no table of that name that has rows of its own."""
    row = connection.execute(_TABLE, [schema, name]).fetchone()
    return Table.model_validate(row[0]) if row else None


def read_triggers(connection: Connection, table: Table) -> list[Trigger]:
    """Those that people made; foreign keys have triggers of the server's own."""
    rows = connection.execute(
        "SELECT tgname::text, tgenabled::text FROM pg_trigger WHERE tgrelid = %s AND NOT tgisinternal ORDER BY 1",
        [table.oid],
    )
    return [Trigger(str(name), str(state)) for name, state in rows]


def switch_triggers_off(connection: Connection, table: Table, triggers: list[Trigger]) -> None:
    for trigger in triggers:
        _alter_trigger(connection, table, "DISABLE TRIGGER", trigger)


def switch_triggers_back(connection: Connection, table: Table, triggers: list[Trigger]) -> None:
    for trigger in triggers:
        action: dict[str, LiteralString] = {"O": "ENABLE", "R": "ENABLE REPLICA", "A": "ENABLE ALWAYS"}
        if trigger.state in action:
            _alter_trigger(connection, table, f"{action[trigger.state]} TRIGGER", trigger)


def _alter_trigger(connection: Connection, table: Table, action: LiteralString, trigger: Trigger) -> None:
    statement = sql.SQL("ALTER TABLE {} {} {}")
    connection.execute(statement.format(table.identifier, sql.SQL(action), sql.Identifier(trigger.name)))


def read_cascades(connection: Connection, table: Table) -> list[Reference]:
    """Foreign keys to the table with ON DELETE CASCADE, SET NULL or SET DEFAULT."""
    rows = connection.execute(_CASCADES, [table.oid]).fetchall()
    return [Reference(*row) for row in rows]  # type: ignore[arg-type]


def read_parents(connection: Connection, table: Table) -> set[int]:
    """Oids of the other tables that its foreign keys refer to."""
    rows = connection.execute(
        "SELECT confrelid FROM pg_constraint WHERE contype = 'f' AND conrelid = %s AND confrelid <> conrelid",
        [table.oid],
    )
    return {int(str(oid)) for (oid,) in rows}


def raise_sequences(connection: Connection, table: Table) -> None:
    """No sequence of the table's columns may give a number that a row already has. They are never set back."""
    for column in table.columns:
        row = connection.execute(
            "SELECT pg_get_serial_sequence(format('%%I.%%I', %s::text, %s::text), %s)",
            [table.schema_name, table.name, column],
        ).fetchone()
        if row and row[0]:
            statement = sql.SQL(_RAISE).format(column=sql.Identifier(column), table=table.identifier)
            connection.execute(statement, {"sequence": row[0]})


_RAISE: LiteralString = """
SELECT setval(seqrelid, highest) FROM pg_sequence, (SELECT max({column})::bigint AS highest FROM ONLY {table}) present
WHERE seqrelid = %(sequence)s::regclass AND seqincrement > 0
  AND highest > coalesce(pg_sequence_last_value(seqrelid), seqstart - 1)
"""

_TABLE: LiteralString = """
SELECT json_build_object(
    'oid', c.oid::bigint, 'schema_name', nspname, 'name', relname, 'owner', pg_get_userbyid(relowner),
    'is_owned', pg_has_role(relowner, 'USAGE'),
    'columns', (
        SELECT coalesce(json_object_agg(attname, format_type(atttypid, atttypmod) ORDER BY attnum), '{}')
        FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
    ),
    'key', (
        SELECT coalesce(json_agg(attname ORDER BY place), '[]')
        FROM pg_index, unnest(indkey) WITH ORDINALITY AS part(number, place), pg_attribute
        WHERE indrelid = c.oid AND indisprimary AND attrelid = c.oid AND attnum = number AND place <= indnkeyatts
    )
)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE nspname = %s AND relname = %s AND relkind = 'r'
"""

_CASCADES: LiteralString = """
SELECT conrelid::bigint, nspname::text, relname::text,
       ARRAY(SELECT attname::text FROM unnest(conkey) WITH ORDINALITY AS part(number, place), pg_attribute
             WHERE attrelid = conrelid AND attnum = number ORDER BY place),
       ARRAY(SELECT attname::text FROM unnest(confkey) WITH ORDINALITY AS part(number, place), pg_attribute
             WHERE attrelid = confrelid AND attnum = number ORDER BY place)
FROM pg_constraint JOIN pg_class c ON c.oid = conrelid JOIN pg_namespace n ON n.oid = relnamespace
WHERE contype = 'f' AND confrelid = %s AND confdeltype IN ('c', 'n', 'd')
ORDER BY 2, 3
"""
