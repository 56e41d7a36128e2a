"""Bring the database's schema up to what this release needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool, create_engine, text

CONFIGURATION = Path(__file__).parent.parent / "alembic.ini"
LOCK = int.from_bytes(b"shop")


def apply_pending_migrations(database_url: str) -> None:
    """Replicas that start at once take turns; whoever comes second finds nothing to do.

    A schema newer than this release is left as it is: migrations only ever add.
    """
    config = Config(CONFIGURATION)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    with connect_locked(database_url) as connection:
        current = MigrationContext.configure(connection).get_current_revision()
        if current is None or current in known:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


@contextmanager
def connect_locked(database_url: str) -> Iterator[Connection]:
    """One transaction, during which nobody else migrates. Waits at most 30 s for its turn."""

    def connect() -> psycopg.Connection:
        return psycopg.connect(
            database_url,
            connect_timeout=5,
            client_encoding="utf8",
            fallback_application_name="shop-migrations",
        )

    engine = create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("set local lock_timeout = '30s'"))
        connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        connection.execute(text("reset lock_timeout"))  # whoever migrates has its own
        yield connection
