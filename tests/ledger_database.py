"""A ledger for tests: a database on a real server, owned by a role without privileges."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg.sql import SQL, Identifier, Literal
from psycopg.types.json import Jsonb

from blocks.ledger.connection import Connection, connect
from tests.deployments.shop.processes import Postgres

ROLE = "ledger"
PASSWORD = "not-for-messages"
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_file'"


@dataclass(frozen=True)
class LedgerDatabase:
    server: Postgres
    name: str

    @property
    def url(self) -> str:
        return f"postgresql://{ROLE}:{PASSWORD}@127.0.0.1:{self.server.port}/{self.name}"

    def connect(self, run_id: str) -> Connection:
        return connect(run_id, self.url)

    def as_superuser(self, statement: str) -> list[tuple[object, ...]]:
        return self.server.execute(statement, self.name)

    def empty(self) -> None:
        """Cut everybody off and forget everything: much faster than another database."""
        self.as_superuser(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        tables = [str(name) for (name,) in self.as_superuser(TABLES)]
        self.as_superuser(
            "ALTER TABLE audit DISABLE TRIGGER ALL;"
            f"TRUNCATE {', '.join(tables)} RESTART IDENTITY;"
            "ALTER TABLE audit ENABLE TRIGGER ALL"
        )

    def open_run(self, connection: Connection, run_id: str, environment: str) -> None:
        connection.execute(
            "INSERT INTO run (id, procedure, environment, parameters, requested_by)"
            " VALUES (%s, 'deploy', %s, '{}', 'Ada') ON CONFLICT DO NOTHING",
            [run_id, environment],
        )

    def arm_undo(self, connection: Connection, run_id: str, environment: str) -> None:
        connection.execute(
            "INSERT INTO armed_undo (run_id, environment, undo, parameters) VALUES (%s, %s, 'flows.deploy:undo', %s)",
            [run_id, environment, Jsonb({})],
        )


def create_ledger_role(server: Postgres) -> None:
    with server.connect() as connection:
        connection.execute(SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(Identifier(ROLE), Literal(PASSWORD)))


@contextmanager
def empty_database(server: Postgres) -> Iterator[LedgerDatabase]:
    """Without any table. Whoever is still connected when it ends is cut off."""
    name = f"ledger_{secrets.token_hex(4)}"
    with server.connect() as connection:
        connection.execute(SQL("CREATE DATABASE {} OWNER {}").format(Identifier(name), Identifier(ROLE)))
    yield LedgerDatabase(server, name)
    with server.connect() as connection:
        connection.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))
