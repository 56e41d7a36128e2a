"""One moment of a database, held open while it is dumped, and what it holds at that moment."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString, NamedTuple

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from blocks.errors import BackstopError, Unreachable
from blocks.manifest import DatabaseFacts, SequenceState
from blocks.postgres.connection import connect
from blocks.postgres.databases import require_database

COPY_SETTINGS = (
    "SET datestyle = ISO",
    "SET intervalstyle = postgres",
    "SET extra_float_digits = 3",
    "SET synchronize_seqscans = off",
    "SET row_security = off",
    "SET bytea_output = hex",
    "SET timezone = UTC",
    "SET search_path = ''",
)
"""As pg_dump sets them: the same rows must come out as the same bytes."""
COPY_OPTIONS = "-c timezone=UTC -c bytea_output=hex"
"""What pg_dump leaves as the database or the role has it. As the session's options they are stronger than those."""


class Table(NamedTuple):
    oid: int
    schema: str
    name: str
    columns: list[str]


class Snapshot:
    """A transaction that sees one moment, and whose snapshot others can take up by its `id`."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self._connection = connection
        self.id = str(self._one("SELECT pg_export_snapshot()"))

    def read_facts(self) -> DatabaseFacts:
        found = self._connection.cursor(row_factory=dict_row).execute(_FACTS).fetchone() or {}
        extensions = dict(self._rows("SELECT extname::text, extversion FROM pg_extension ORDER BY 1"))
        database = require_database(self._connection, found["database"])
        custom = [setting.name for setting in database.settings if setting.is_custom]
        kept = [setting for setting in database.settings if not setting.is_custom]
        return DatabaseFacts(
            **found,
            extensions=extensions,
            roles=[name for (name,) in self._rows(_ROLES)],
            described=database.model_copy(update={"settings": kept}),
            custom_settings=sorted(custom),
        )

    def read_tables(self) -> list[Table]:
        """Every table that has rows of its own, partitions each for itself, sorted by name."""
        return [Table(*row) for row in self._rows(_TABLES)]

    def read_sequences(self) -> list[SequenceState]:
        states = []
        for schema, name, increment, cycles in self._rows(_SEQUENCES):
            statement = sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(schema, name))
            last, called = self._connection.execute(statement).fetchone() or (0, False)
            state = {"schema_name": schema, "name": name, "increment": increment, "cycles": cycles}
            states.append(SequenceState(**state, last_value=last, is_called=called))
        return states

    def read_text(self, query: str) -> str:
        """The first value of a query that the environment gives; empty without a row.

        It is asked with the search path that the role has. Raises BackstopError when it cannot be asked.
        """
        try:
            with self._connection.transaction():
                self._connection.execute("SET LOCAL search_path TO DEFAULT")
                row = self._connection.execute(query.encode()).fetchone()
        except psycopg.ProgrammingError as error:
            raise BackstopError(f"A query could not be asked: {_reason(error)}.", "Nothing was changed.") from None
        return str(row[0]) if row else ""

    def has_table(self, name: str) -> bool:
        return bool(self._one("SELECT to_regclass(%s) IS NOT NULL", name))

    def _rows(self, statement: LiteralString) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement).fetchall()

    def _one(self, statement: LiteralString, *values: object) -> Any:
        row = self._connection.execute(statement, values).fetchone()
        return row[0] if row else None


@contextmanager
def open_snapshot(url: str, purpose: str, database: str = "") -> Iterator[Snapshot]:
    """Raises Unreachable when the database goes away, BackstopError for what the role may not do."""
    with connect(url, purpose, database) as connection:
        try:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            for setting in COPY_SETTINGS:
                connection.execute(setting)
            yield Snapshot(connection)
        except psycopg.errors.InsufficientPrivilege as error:
            raise BackstopError(
                f"The database refuses: {error.diag.message_primary}.",
                "Give the role of the environment's backups the privileges of docs/database-roles.md.",
            ) from None
        except psycopg.OperationalError as error:
            raise Unreachable(f"The database went away ({type(error).__name__}).") from None
        except psycopg.Error as error:
            raise BackstopError(f"The database cannot be read: {_reason(error)}.") from None


def _reason(error: psycopg.Error) -> str:
    return error.diag.message_primary or type(error).__name__


_FACTS: LiteralString = """
SELECT now() AS taken_at,
       CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text AS wal_position,
       datname AS database, pg_get_userbyid(datdba) AS owner, pg_encoding_to_char(encoding) AS encoding,
       datcollate AS collation, datctype AS character_type, datlocprovider AS locale_provider,
       current_setting('server_version_num')::int AS server_version, pg_database_size(oid) AS database_bytes,
       (SELECT count(*) FROM pg_largeobject_metadata) AS large_objects
FROM pg_database WHERE datname = current_database()
"""

_TABLES: LiteralString = """
SELECT c.oid, n.nspname, c.relname, coalesce(columns, '{}')
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN LATERAL (
    SELECT array_agg(attname::text ORDER BY attnum) AS columns FROM pg_attribute
    WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
) a ON true
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
ORDER BY 2, 3
"""

_SEQUENCES: LiteralString = """
SELECT n.nspname, c.relname, seqincrement, seqcycle FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_sequence ON seqrelid = c.oid
WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass
                  AND d.deptype = 'e')
ORDER BY 1, 2
"""
"""Those of an extension are the extension's, and not dumped."""

_ROLES: LiteralString = """
SELECT rolname::text FROM pg_roles WHERE rolname NOT LIKE 'pg\\_%' AND oid IN (
    SELECT refobjid FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass
      AND dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
      AND (dbid <> 0 OR objid = (SELECT oid FROM pg_database WHERE datname = current_database()))
    UNION SELECT datdba FROM pg_database WHERE datname = current_database()
) ORDER BY 1
"""
