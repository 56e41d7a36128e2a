"""Plain SQL files: NNN_name.up.sql with NNN_name.down.sql, or NNN_name.sql without a way down."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple

import psycopg
from psycopg import errors
from pydantic import Field

from blocks.errors import Refused
from blocks.migrations.command_line import Inside
from blocks.migrations.interface import (
    Limits,
    Migration,
    MigrationFailed,
    MigrationStatus,
    MigrationTool,
    Workspace,
    check_applied,
    check_newest,
)
from blocks.migrations.sql_file import Script, SqlFile, read_files
from blocks.postgres.connection import Connection, connect

_TABLE = """
CREATE TABLE IF NOT EXISTS backstop_migrations (
    name text PRIMARY KEY,
    sha256 text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    applied_at timestamptz
)
"""
_LOCK = "hashtext('backstop_migrations ' || current_database())"
_NOTICES_ITS_CLIENT_SINCE = 140_000


class _Record(NamedTuple):
    name: str
    sha256: str
    is_applied: bool


class SqlFolder(MigrationTool):
    """SQL files of a folder, each in one transaction unless it begins with `-- backstop: no-transaction`.

    Table `backstop_migrations` keeps what was applied. One without a transaction is written there before it
    begins, so one that died half-way is known, and nothing more is applied until a person has dealt with it.
    """

    record_table = "backstop_migrations"

    _block_type_name = "SQL folder"
    _block_type_slug = "sql-folder"
    _description = "Plain SQL files with up and down scripts, applied by Backstop itself."

    tool: Literal["sql"] = Field("sql", description="Which tool it is: a saved block is read again as what it was.")
    folder: Inside = Field("migrations", description="Folder of the checkout that holds the files.")

    def read_status(self, workspace: Workspace) -> MigrationStatus:
        with connect(workspace.url, workspace.purpose) as connection:
            records = _read_records(connection)
        files = self._read_files(workspace)
        for record in records:
            file = files.get(record.name)
            if record.is_applied and file and file.up.sha256 != record.sha256:
                raise Refused(
                    f"{file.up.path.name} was changed after it was applied.",
                    "Put it back as it was, and write a new migration. Nothing was changed.",
                )
        return _status(records, files)

    def read_sql(self, workspace: Workspace, migrations: list[str]) -> dict[str, str] | None:
        files = self._read_files(workspace)
        return {name: files[name].up.text for name in migrations if name in files}

    def apply(self, workspace: Workspace, limits: Limits) -> None:
        status = self.read_status(workspace)
        if status.failed:
            raise MigrationFailed(
                f"{status.failed} was begun and not finished; nothing further was applied.",
                "Put right by hand what it left, then mark it as rolled back.",
                migration=status.failed,
            )
        files = self._read_files(workspace)
        with _migrating(workspace, limits) as connection:
            for migration in status.pending:
                file = files[migration.id]
                with _failure_named(migration.id, file.up):
                    _apply(connection, file)

    def revert(self, workspace: Workspace, to: str, limits: Limits) -> None:
        files = self._read_files(workspace)
        with _migrating(workspace, limits) as connection:
            status = _status(_read_records(connection), files)
            check_applied(status, to)
            newest_first = status.applied[status.applied.index(to) + 1 if to else 0 :][::-1]
            downs = {name: files[name].down if name in files else None for name in newest_first}
            if lacking := [name for name, down in downs.items() if down is None]:
                raise Refused(f"There is no way down from {', '.join(lacking)}.")
            for name, down in downs.items():
                if down:
                    with _failure_named(name, down):
                        _revert(connection, name, down)

    def mark_rolled_back(self, workspace: Workspace, migration: str) -> None:
        with _migrating(workspace, Limits()) as connection:
            check_newest(_status(_read_records(connection), {}), migration)
            _strike(connection, migration)

    def _read_files(self, workspace: Workspace) -> dict[str, SqlFile]:
        return read_files(workspace.folder / self.folder)


def _status(records: list[_Record], files: dict[str, SqlFile]) -> MigrationStatus:
    applied = [record.name for record in records if record.is_applied]
    return MigrationStatus(
        applied=applied,
        pending=[
            Migration(id=name, title=name.replace("_", " "), reversible=file.down is not None)
            for name, file in files.items()
            if name not in applied
        ],
        failed=next((record.name for record in records if not record.is_applied), None),
    )


@contextmanager
def _migrating(workspace: Workspace, limits: Limits) -> Iterator[Connection]:
    """A connection with the limits, while nobody else migrates. Raises Refused when somebody does."""
    with connect(workspace.url, workspace.purpose, statement_seconds=limits.statement_seconds) as connection:
        settings = {"lock_timeout": f"{int(limits.lock_seconds * 1000)}"}
        if connection.info.server_version >= _NOTICES_ITS_CLIENT_SINCE:
            settings["client_connection_check_interval"] = "1s"
        for name, value in settings.items():
            connection.execute("SELECT set_config(%s, %s, false)", [name, value])
        if connection.execute(f"SELECT pg_try_advisory_lock({_LOCK})".encode()).fetchone() != (True,):
            raise Refused("Somebody else migrates this database at the moment.")
        connection.execute(_TABLE.encode())
        yield connection


def _apply(connection: Connection, file: SqlFile) -> None:
    insert = "INSERT INTO backstop_migrations (name, sha256, applied_at) VALUES (%s, %s, {})"
    if file.up.in_transaction:
        with connection.transaction():
            connection.execute(file.up.text.encode())
            connection.execute(insert.format("clock_timestamp()").encode(), [file.name, file.up.sha256])
        return
    connection.execute(insert.format("NULL").encode(), [file.name, file.up.sha256])
    for statement in file.up.statements:
        connection.execute(statement.encode())
    connection.execute("UPDATE backstop_migrations SET applied_at = clock_timestamp() WHERE name = %s", [file.name])


def _revert(connection: Connection, name: str, down: Script) -> None:
    if down.in_transaction:
        with connection.transaction():
            connection.execute(down.text.encode())
            _strike(connection, name)
        return
    connection.execute("UPDATE backstop_migrations SET applied_at = NULL WHERE name = %s", [name])
    for statement in down.statements:
        connection.execute(statement.encode())
    _strike(connection, name)


def _strike(connection: Connection, name: str) -> None:
    connection.execute("DELETE FROM backstop_migrations WHERE name = %s", [name])


def _read_records(connection: Connection) -> list[_Record]:
    """In the order in which they were begun."""
    if connection.execute("SELECT to_regclass('backstop_migrations')").fetchone() == (None,):
        return []
    rows = connection.execute(
        "SELECT name, sha256, applied_at IS NOT NULL FROM backstop_migrations ORDER BY started_at, name"
    ).fetchall()
    return [_Record(str(name), str(sha256), bool(is_applied)) for name, sha256, is_applied in rows]


@contextmanager
def _failure_named(migration: str, script: Script) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise MigrationFailed(
            f"{script.path.name} failed: {error.diag.message_primary or type(error).__name__}.",
            "It was in a transaction: nothing of it was applied." if script.in_transaction else "",
            migration=migration,
            is_lock_timeout=isinstance(error, errors.LockNotAvailable),
        ) from None
