"""How Alembic reaches the database: with the service's own connection and lock."""

import os

from alembic import context
from sqlalchemy import Connection

from shop.schema import connect_locked


def migrate(connection: Connection) -> None:
    context.configure(connection=connection)
    context.run_migrations()


def print_sql() -> None:
    context.configure(dialect_name="postgresql", literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    print_sql()
elif "connection" in context.config.attributes:
    migrate(context.config.attributes["connection"])
else:
    with connect_locked(os.environ["DATABASE_URL"]) as own_connection:
        migrate(own_connection)
