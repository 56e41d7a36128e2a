"""The sample service's staging, about to be migrated: what it is like before, and what must be so whatever happens."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from blocks.postgres.programs import find_programs_for
from blocks.postgres.schema import read_schema
from tests.blocks.platforms.waiting import eventually
from tests.flows.migrations import ENVIRONMENT, Migrations, clone_for, write_environment
from tests.flows.runner import running_procedures
from tests.flows.shop_database import NAME, ShopDatabase
from tests.flows.writers import Writers
from tests.running_stack import RunningStack

VERSION = "v9.0.0"
RECORD_TABLE = "backstop_migrations"
ADD = "ALTER TABLE tasks ADD COLUMN place text;"
DROP = "ALTER TABLE tasks DROP COLUMN place;"
TIDY = (
    "ALTER TABLE tasks DROP COLUMN IF EXISTS place, DROP CONSTRAINT IF EXISTS short;"
    " DROP INDEX IF EXISTS one_title; DROP FUNCTION IF EXISTS refuse CASCADE;"
    " DROP TABLE IF EXISTS backstop_migrations; DELETE FROM tasks"
)
"""The schema of the proven backup again."""


class State(NamedTuple):
    """What an undo has to bring back."""

    schema: str
    may_connect: set[str]

    @classmethod
    def of(cls, shop: ShopDatabase) -> Self:
        with shop.connect() as connection:
            programs = find_programs_for(connection.info.server_version // 10_000)
        return cls(read_schema(_superuser_url(shop), programs, "drill", NAME, RECORD_TABLE), shop.read().may_connect)


def prepare(stack: RunningStack, folder: Path) -> Migrations:
    """The environment is applied, and there is a proven backup of it."""
    migrations = clone_for(stack, folder)
    stack.run("apply", str(write_environment(folder, migrations)))
    with running_procedures(stack) as runner:
        for procedure in ("back-up-database", "verify-backup"):
            result = runner.run(procedure, ENVIRONMENT)
            assert result["ending"] == "Done", result["message"]
    return migrations


@contextmanager
def nothing_lost(shop: ShopDatabase) -> Iterator[Writers]:
    """While somebody writes all the time. Afterwards everything acknowledged is there, whatever database is live."""
    with Writers(shop.stack.layout.database_url(NAME), 2) as writers:
        eventually(lambda: writers.databases)
        yield writers
    acknowledged = {title for database in writers.databases for title in writers.acknowledged(database)}
    kept = {str(title) for (title,) in shop.ask("SELECT title FROM tasks")}
    assert acknowledged <= kept


def _superuser_url(shop: ShopDatabase) -> str:
    layout = shop.stack.layout
    return f"postgresql://postgres:{layout.credentials.postgres_password}@127.0.0.1:{layout.ports['postgres']}/{NAME}"
