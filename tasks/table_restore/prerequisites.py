"""What must hold before rows of a backup come into live tables: one line of the plan each. Nothing is changed."""

from collections.abc import Iterator, Sequence

from blocks.postgres.connection import Connection
from tasks.prerequisite import Prerequisite
from tasks.table_restore.model import Mode, TablePlan


def check_tables(
    connection: Connection, tables: Sequence[TablePlan], mode: Mode, is_proven: bool
) -> Iterator[Prerequisite]:
    yield from _of_role(connection)
    if mode == "beside":
        return
    yield Prerequisite.told("backup proven", is_proven, "its rows were compared after a test restore", "prove it first")
    for table in tables:
        yield from _of_table(table, mode)


def _of_role(connection: Connection) -> Iterator[Prerequisite]:
    row = connection.execute(
        "SELECT has_database_privilege(datname, 'CREATE') AND pg_has_role(datdba, 'USAGE'),"
        " format('GRANT %I TO %I', pg_get_userbyid(datdba), current_user)"
        " FROM pg_database WHERE datname = current_database()"
    ).fetchone() or (False, "")
    yield Prerequisite.told("role owns the database", bool(row[0]), "it may make schemas", str(row[1]))


def _of_table(table: TablePlan, mode: Mode) -> Iterator[Prerequisite]:
    if table.live is None:
        yield Prerequisite.told(table.title, False, "", "it is not in the live database; use mode=beside")
        return
    yield Prerequisite.told(
        f"role owns {table.title}", table.live.is_owned, table.live.owner, f"grant it {table.live.owner}"
    )
    told = f"the live table has no column {', '.join(table.gone)} any more; use mode=beside"
    yield Prerequisite.told(f"columns of {table.title}", not table.gone, "all of the backup's are there", told)
    keyless = f"{table.title} has no primary key that the backup has, too"
    if mode == "merge":
        yield Prerequisite.told(
            f"key of {table.title}", bool(table.key), ", ".join(table.key), f"{keyless}; use mode=beside"
        )
    elif not table.key and table.added:
        told = f"{keyless}, so the values of {', '.join(table.added)} would be lost; use mode=beside"
        yield Prerequisite.told(f"key of {table.title}", False, "", told)
