"""Single tables out of a backup into a schema of their own in the live database, with the types of the backup."""

import re
import subprocess
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from psycopg import sql

from blocks.environment import Environment
from blocks.errors import BackupIsBad
from blocks.manifest import TableContent
from blocks.postgres.connection import Connection
from blocks.postgres.programs import Programs, find_programs_for
from blocks.surroundings import BARE
from tasks.archive import Archive, archive_of, feed_of, opened
from tasks.database_content import END_OF_ROWS, RowsDigest
from tasks.effect import effect
from tasks.retry import is_passing
from tasks.table_restore.model import TablePlan, TableRestorePlan
from tasks.table_restore.rows import digest_of
from tasks.table_restore.session import end_sessions_of_run, live_session
from tasks.transfer_progress import TransferProgress

_LIST_SECONDS = 120
_CHUNK_BYTES = 1 << 20
_DRAFT = "a table that is dropped again at once"
_LISTED_ROWS = re.compile(r"^(\d+); \d+ \d+ TABLE DATA ", re.MULTILINE)
_NAME = r'(?:"(?:[^"]|"")+"|[^\s".]+)'
_CREATED = re.compile(rf"""^CREATE (?:UNLOGGED )?TABLE {_NAME}\.{_NAME}((?:[^'";]|'[^']*'|"[^"]*")*);$""", re.MULTILINE)
"""What follows would alter the live table by its name: nothing but this statement is taken."""


# Never repeated by itself: what a first attempt left is in the way of a second.
@task(name="Restore tables beside", cache_policy=NO_CACHE)
def restore_tables_beside(environment: Environment, plan: TableRestorePlan) -> None:
    """Make the schema and the tables in it, and copy the rows. Raises BackupIsBad for any that differ."""
    archive, programs = archive_of(environment, plan.backup), _programs_for(plan)
    progress = TransferProgress(f"Restoring tables of {plan.backup.id}", plan.backup.content_bytes)
    with (
        effect("restore tables beside", database=plan.database, schema=plan.restored, backup=plan.backup.id),
        opened(archive) as folder,
        live_session(environment) as connection,
    ):
        _make_schema(connection, plan.restored, plan.owner)
        for table in plan.tables:
            place = sql.Identifier(plan.restored, table.place)
            with connection.transaction():
                _make_table(connection, plan, table, _read_definition(programs, folder, table.content))
                _copy_rows(connection, place, archive, folder, _number_of(programs, folder, table.content), table)
            connection.execute(sql.SQL("ANALYZE {}").format(place))
            progress.show(sum(member.size for member in plan.backup.members))
            _verify(connection, place, table)
    progress.finish()


# Repeating is safe: what is gone stays gone.
@task(name="Drop schema", cache_policy=NO_CACHE, retries=5, retry_delay_seconds=1, retry_condition_fn=is_passing)
def drop_restored(environment: Environment, schema: str, run_id: str) -> None:
    """Drop the schema that a run made for the rows of a backup, and all in it."""
    with live_session(environment) as connection:
        end_sessions_of_run(connection, run_id)
        if connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [schema]).fetchone():
            with effect("drop schema", schema=schema):
                connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))


def _programs_for(plan: TableRestorePlan) -> Programs:
    """As new as the server that was dumped, and as the pg_dump that read it."""
    return find_programs_for(max(plan.backup.server_version // 10_000, int(plan.backup.dump_version.partition(".")[0])))


def _make_schema(connection: Connection, schema: str, owner: str) -> None:
    statement = sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}")
    connection.execute(statement.format(sql.Identifier(schema), sql.Identifier(owner)))


def _make_table(connection: Connection, plan: TableRestorePlan, table: TablePlan, definition: str) -> None:
    """With the backup's columns and their types, and nothing else: no constraint, no default, no parent."""
    place, draft = sql.Identifier(plan.restored, table.place), sql.Identifier(plan.restored, _DRAFT)
    connection.execute(b"CREATE TABLE " + draft.as_bytes(connection) + definition.encode())
    columns = sql.SQL(", ").join(map(sql.Identifier, table.content.columns))
    # Unlogged: it can be made again at any time, and no replica takes it for the application's.
    statement = sql.SQL("CREATE UNLOGGED TABLE {} AS SELECT {} FROM {} WITH NO DATA")
    connection.execute(statement.format(place, columns, draft))
    connection.execute(sql.SQL("DROP TABLE {}").format(draft))
    connection.execute(sql.SQL("ALTER TABLE {} OWNER TO {}").format(place, sql.Identifier(plan.owner)))


def _read_definition(programs: Programs, folder: Path, content: TableContent) -> str:
    """What follows the name in the table's CREATE TABLE."""
    script = _ask(programs, folder, content, "--section=pre-data", "--no-owner", "--no-privileges", "--file=-")
    found = _CREATED.search(script)
    if found is None:
        raise BackupIsBad(f"The archive does not tell how {content.name} was made.")
    return found[1]


def _number_of(programs: Programs, folder: Path, content: TableContent) -> str:
    """Of the file with its rows."""
    found = _LISTED_ROWS.findall(_ask(programs, folder, content, "--list"))
    if len(found) != 1:
        raise BackupIsBad(f"The archive has {len(found)} files with rows of {content.name}.")
    return f"{found[0]}.dat"


def _ask(programs: Programs, folder: Path, content: TableContent, *what: str) -> str:
    only = [f"--schema={content.schema_name}", f"--table={content.name}"]
    answer = subprocess.run(
        [programs.path("pg_restore"), "--format=directory", *what, *only, str(folder)],
        env=BARE,
        capture_output=True,
        text=True,
        timeout=_LIST_SECONDS,
        check=False,
    )
    if answer.returncode:
        raise BackupIsBad(f"pg_restore cannot read the archive: {answer.stderr.strip()[:200]}")
    return answer.stdout


def _copy_rows(
    connection: Connection, place: sql.Identifier, archive: Archive, folder: Path, name: str, table: TablePlan
) -> None:
    digest, held = RowsDigest(), b""
    with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(place)) as copy:

        def take(chunk: bytes) -> None:
            nonlocal held
            digest.update(chunk)
            seen = held + chunk
            copy.write(seen[: -len(END_OF_ROWS)])
            held = seen[-len(END_OF_ROWS) :]

        large = {member.name: member for member in archive.manifest.members}
        if name in large:
            feed_of(archive, large[name])(take)
        else:
            with (folder / name).open("rb") as file:
                for chunk in iter(lambda: file.read(_CHUNK_BYTES), b""):
                    take(chunk)
    if digest.finish() != table.content.sha256:
        raise BackupIsBad(f"The backup's rows of {table.title} are not those that were written.")


def _verify(connection: Connection, place: sql.Identifier, table: TablePlan) -> None:
    found = digest_of(connection, place, [])
    if (found.rows, found.finish()) != (table.content.rows, table.content.sha256):
        raise BackupIsBad(
            f"What was restored of {table.title} is not what was backed up:"
            f" {found.rows} rows, {table.content.rows} in the backup, or another content."
        )
