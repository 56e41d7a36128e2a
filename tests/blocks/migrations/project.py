"""A project with migrations, written the way its tool wants them."""

import json
import secrets
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg.sql import SQL, Identifier, Literal

from blocks.migrations.interface import Limits, MigrationTool, Workspace
from blocks.postgres.programs import find_programs_for
from blocks.postgres.schema import read_schema
from tests.deployments.shop.processes import Postgres

PASSWORD = "pä'ss\"w%41 +o:r/d@?&#\\ß"
PURPOSE = "run-1234"

_APPLYING = """
import json, sys
from importlib import import_module
from pathlib import Path
from blocks.migrations.interface import Limits, Workspace
told = json.load(sys.stdin)
tool = getattr(import_module(told["module"]), told["kind"])(**told["fields"])
print("ready", flush=True)
tool.apply(Workspace(Path(told["folder"]), told["url"], told["purpose"]), Limits())
"""


@dataclass(frozen=True)
class Step:
    """One migration."""

    name: str
    up: list[str]
    down: list[str] = field(default_factory=list)
    in_transaction: bool = True


TABLE = Step("create_users", ["CREATE TABLE users (id int PRIMARY KEY, name text)"], ["DROP TABLE users"])
COLUMN = Step(
    "add_email",
    ["ALTER TABLE users ADD COLUMN email text", "COMMENT ON COLUMN users.email IS 'it''s; 100% $$ \"theirs\"'"],
    ["ALTER TABLE users DROP COLUMN email"],
)
BROKEN = Step("add_broken", ["CREATE TABLE other (id int)", "ALTER TABLE nowhere ADD COLUMN x int"], ["SELECT 1"])
INDEX = Step(
    "add_index",
    ["CREATE UNIQUE INDEX CONCURRENTLY users_by_name ON users (name)"],
    ["DROP INDEX CONCURRENTLY users_by_name"],
    in_transaction=False,
)


class Project(ABC):
    """In `folder`, for a database of its own whose role has a password full of traps."""

    tool: MigrationTool
    goes_down = True
    tells_failed = False
    """Whether the tool's record knows a migration that was begun and not finished, though it was in a transaction."""
    tells_half_applied = False
    """Whether it knows one that was not in a transaction."""
    marks_newest = True
    shows_sql = True

    def __init__(self, folder: Path, server: Postgres) -> None:
        self.folder = folder
        self._server = server
        self.ids: list[str] = []
        self.role = f"migrator_{secrets.token_hex(4)}"
        self.database = server.make_database()
        with server.connect() as connection:
            connection.execute(SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(Identifier(self.role), Literal(PASSWORD)))
            connection.execute(
                SQL("ALTER DATABASE {} OWNER TO {}").format(Identifier(self.database), Identifier(self.role))
            )

    @abstractmethod
    def write(self, step: Step, number: int) -> str:
        """Add the migration; returns its id."""

    def add(self, *steps: Step) -> list[str]:
        """The ids of all migrations so far."""
        for step in steps:
            self.ids.append(self.write(step, len(self.ids) + 1))
        return self.ids

    @property
    def url(self) -> str:
        return f"postgresql://{self.role}:{quote(PASSWORD, safe='')}@127.0.0.1:{self._server.port}/{self.database}"

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.folder, self.url, PURPOSE)

    def apply(self, lock_seconds: float = 5, statement_seconds: float = 60) -> None:
        self.tool.apply(self.workspace, Limits(lock_seconds=lock_seconds, statement_seconds=statement_seconds))

    def revert(self, to: str) -> None:
        self.tool.revert(self.workspace, to, Limits())

    def applied(self) -> list[str]:
        return self.tool.read_status(self.workspace).applied

    def pending(self) -> list[str]:
        return [one.id for one in self.tool.read_status(self.workspace).pending]

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        with self.connect() as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def connect(self) -> psycopg.Connection:
        return psycopg.connect(self.url, autocommit=True, connect_timeout=5)

    def schema(self) -> str:
        """Without the tool's own tables."""
        major = int(str(self._server.execute("SHOW server_version_num")[0][0])) // 10_000
        text = read_schema(self.url, find_programs_for(major, major))
        own = ("alembic_version", "backstop_migrations", "_prisma_migrations", "migrations")
        return "\n".join(part for part in text.split(";\n") if not any(f"public.{name}" in part for name in own))

    def sessions(self) -> list[tuple[object, ...]]:
        """What the tool's sessions do."""
        return self._server.execute(
            f"SELECT wait_event_type, query FROM pg_stat_activity WHERE application_name = 'backstop {PURPOSE}'"  # noqa: S608
        )

    @contextmanager
    def users_locked(self) -> Iterator[None]:
        with self.connect() as connection, connection.transaction():
            connection.execute("LOCK TABLE users")
            yield

    @contextmanager
    def applying_elsewhere(self) -> Iterator["subprocess.Popen[str]"]:
        """In a process of its own, which may be killed."""
        told = {
            "module": type(self.tool).__module__,
            "kind": type(self.tool).__name__,
            "fields": self.tool.model_dump(exclude={"block_type_slug"}),
            "folder": str(self.folder),
            "url": self.url,
            "purpose": PURPOSE,
        }
        with subprocess.Popen(
            [sys.executable, "-c", _APPLYING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as started:
            try:
                assert started.stdin
                assert started.stdout
                started.stdin.write(json.dumps(told))
                started.stdin.close()
                assert started.stdout.readline() == "ready\n"
                yield started
            finally:
                started.kill()

    def remove(self) -> None:
        self._server.execute(f"DROP DATABASE {self.database} WITH (FORCE)")
        self._server.execute(f"DROP ROLE {self.role}")


def command_lines(below: int) -> list[list[str]]:
    """Of every process below this one."""
    found = []
    for child in psutil.Process(below).children(recursive=True):
        try:
            found.append(child.cmdline())
        except psutil.NoSuchProcess:
            continue
    return found
