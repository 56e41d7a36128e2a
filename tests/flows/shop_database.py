"""The database of the sample service in staging, seen as the server's superuser: who may do what, and what it holds."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
from psycopg import sql

from blocks.postgres.databases import Database, read_database
from deployments.stack.layout import logins
from tests.running_stack import RunningStack

ENVIRONMENT = "shop-staging"
NAME = "shop_staging"
TABLES = ("offers", "payment_events", "tasks", "uploads", "users")
EVERYTHING = "public.tasks,public.uploads,public.payment_events,public.users"
"""What the smoke tests of other runs may have written to, as `accept_loss` takes it."""


class ShopDatabase:
    def __init__(self, stack: RunningStack) -> None:
        self.stack = stack

    def connect(self, name: str = NAME) -> "psycopg.Connection[tuple[Any, ...]]":
        layout = self.stack.layout
        return psycopg.connect(
            host="127.0.0.1",
            port=layout.ports["postgres"],
            user="postgres",
            password=layout.credentials.postgres_password,
            dbname=name,
            autocommit=True,
            connect_timeout=5,
        )

    def ask(self, statement: str, name: str = NAME, values: Sequence[object] | None = None) -> list[tuple[Any, ...]]:
        with self.connect(name) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def write_task(self, title: str) -> None:
        self.ask("INSERT INTO tasks (user_id, title) SELECT id, %s FROM users LIMIT 1", values=[title])

    def rows(self, name: str = NAME) -> dict[str, list[tuple[Any, ...]]]:
        """Everything that it holds, table by table."""
        return {table: self.ask(f"TABLE {table} ORDER BY 1", name) for table in TABLES}

    def read(self, name: str = NAME) -> Database:
        with self.connect("postgres") as connection:
            found = read_database(connection, name)
        assert found
        return found

    def names(self) -> list[str]:
        return [str(name) for (name,) in self.ask("SELECT datname FROM pg_database ORDER BY 1", "postgres")]

    def others(self) -> list[str]:
        """Databases of staging beside the live one."""
        return [name for name in self.names() if name.startswith(f"{NAME}_")]

    def drop_others(self) -> None:
        with self.connect("postgres") as connection:
            for name in self.others():
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    @contextmanager
    def unreachable_for_the_service(self) -> Iterator[None]:
        """For a while, and not for the restoring role."""
        roles = logins("staging")
        for role in roles:
            self.ask(f"ALTER ROLE {role} CONNECTION LIMIT 0", "postgres")
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ANY(%s)"
        self.ask(ended, "postgres", [list(roles)])
        try:
            yield
        finally:
            for role in roles:
                self.ask(f"ALTER ROLE {role} CONNECTION LIMIT -1", "postgres")

    def service_answers(self) -> bool:
        url = f"{self.stack.layout.front_url('staging')}/health/detailed"
        answer = httpx.get(url, timeout=5, trust_env=False)
        return answer.status_code == 200 and answer.json()["components"]["database"]["status"] == "ok"

    def back_up(self) -> str:
        """A proven backup of it as it is; its id."""
        made = self.stack.run_procedure("back-up-database", ENVIRONMENT)
        assert made["ending"] == "Done", made
        backup_id = str(made["message"].split()[1])
        proven = self.stack.run_procedure("verify-backup", ENVIRONMENT, backup=backup_id)
        assert proven["ending"] == "Done", proven
        return backup_id
