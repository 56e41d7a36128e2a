"""Staging under another name, whose database somebody else runs: a clone is a real server, as of a moment of before."""

import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import yaml
from psycopg import sql

from blocks.cloud_sql import CloudSql
from blocks.platforms.interface import Split
from blocks.platforms.sandbox import SandboxPlatform
from blocks.postgres.connection import read_conninfo
from blocks.postgres.databases import open_to
from deployments.apply import ROOT
from deployments.stack.state import write_private
from tests.blocks.platforms.waiting import eventually
from tests.deployments.shop.processes import POSTGRES_PROGRAMS, POSTGRES_USER, process
from tests.flows.shop_database import NAME, ShopDatabase
from tests.running_stack import RunningStack
from tests.standins.cloud_sql import INSTANCE, PROJECT, CloudSqlStandIn, Kept, running_cloud_sql
from tests.standins.discovery import discovered
from tests.standins.google_token import GoogleTokens, running_google_tokens

STAGING = ROOT / "deployments" / "environments" / "shop-staging.yaml"
ENVIRONMENT = "shop-on-cloud-sql"
VARIABLE = "DATABASE_URL"
OLD_PASSWORD = "of-that-time"
_ADDRESSES = 250


class Copies:
    """Physical copies of the stack's server: at its port, each at an address of its own."""

    def __init__(self, stack: RunningStack, folder: Path) -> None:
        self.address = "127.0.0.1"
        self.old_passwords: list[str] = []
        """Roles that have another password there, as before a rotation."""
        self._port, self._password = stack.layout.ports["postgres"], stack.layout.credentials.postgres_password
        self._folder = folder
        self._moments: list[datetime] = []
        self._addresses: dict[str, str] = {}
        self._servers = ExitStack()
        self._starter = ThreadPoolExecutor(1)
        """One thread for all: a server ends with the thread that started it."""

    def remember(self) -> datetime:
        """All that the server holds now; the moment."""
        command = [str(POSTGRES_PROGRAMS / "pg_basebackup"), "-D", str(self._folder / f"{len(self._moments)}")]
        command += ["-h", self.address, "-p", str(self._port), "-U", "postgres", "-c", "fast", "--no-sync"]
        self._run(command)
        now = datetime.now(UTC)
        self._moments.append(now.replace(microsecond=now.microsecond // 1000 * 1000))  # as exact as Google is told
        return self._moments[-1]

    def clone(self, name: str, at: datetime) -> str:
        number = len([moment for moment in self._moments if moment <= at]) - 1
        self._addresses[name] = f"127.0.0.{len(self._addresses) % _ADDRESSES + 2}"
        self._starter.submit(self._start, name, self._folder / f"{number}").result(60)
        return self._addresses[name]

    def set_password(self, name: str, user: str, password: str) -> None:
        self.ask(name, sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(user), sql.Literal(password)))

    def ask(self, name: str, statement: str | sql.Composed, database: str = "postgres") -> list[tuple[object, ...]]:
        """As the clone's superuser."""
        with psycopg.connect(
            host=self._addresses[name],
            port=self._port,
            user="postgres",
            password=self._password,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        ) as connection:
            cursor = connection.execute(statement.encode() if isinstance(statement, str) else statement)
            return cursor.fetchall() if cursor.description else []

    def end_clones(self) -> None:
        self._starter.submit(self._servers.close).result(60)
        self.old_passwords.clear()

    def close(self) -> None:
        self.end_clones()
        self._starter.shutdown()

    def _start(self, name: str, remembered: Path) -> None:
        data = self._folder / name
        self._run(["cp", "-a", str(remembered), str(data)])
        command = [str(POSTGRES_PROGRAMS / "postgres"), "-D", str(data), f"--port={self._port}", "--fsync=off"]
        command += [f"--listen-addresses={self._addresses[name]}", "--unix-socket-directories="]
        started = self._servers.enter_context(process(command, self._folder, {}, user=POSTGRES_USER))
        self._servers.callback(started.send_signal, signal.SIGINT)  # ends open sessions, too
        eventually(lambda: self._answers(name), 30)
        for role in self.old_passwords:
            self.set_password(name, role, OLD_PASSWORD)

    def _answers(self, name: str) -> bool:
        try:
            return bool(self.ask(name, "SELECT 1"))
        except psycopg.OperationalError:
            return False

    def _run(self, command: list[str]) -> None:
        environment = {**os.environ, "PGPASSWORD": self._password}
        subprocess.run(
            command, check=True, cwd=self._folder, env=environment, user=POSTGRES_USER, capture_output=True, timeout=60
        )


@dataclass(frozen=True)
class OnCloudSql:
    stack: RunningStack
    google: CloudSqlStandIn
    copies: Copies
    folder: Path
    """Holds what the environment refers to."""
    traffic: Split
    may_connect: frozenset[str]
    """To the first server's database."""

    def mend(self) -> None:
        """The application finds the first server again, whatever a test left, and Google knows no other one."""
        shop = ShopDatabase(self.stack)
        with shop.connect("postgres") as connection:
            open_to(connection, shop.read(), set(self.may_connect))
        url, variables = self.stack.layout.database_url(NAME), self.platform.read_variables()
        self.platform.set_variables({**variables, VARIABLE: url})
        self.platform.shift_traffic(self.traffic)
        self.google.forget()
        self.copies.end_clones()

    @property
    def platform(self) -> SandboxPlatform:
        return _platform(self.stack, self.folder)

    @property
    def pointed_at(self) -> str:
        """Address of the server that the application finds."""
        return read_conninfo(self.platform.read_variables()[VARIABLE])["host"]

    @property
    def clones(self) -> list[Kept]:
        return [self.google.instances[name] for name in self.google.clones]

    def tasks(self, clone: str) -> set[str]:
        return {str(title) for (title,) in self.copies.ask(clone, "SELECT title FROM tasks", NAME)}

    def apply(self, **database: object) -> None:
        """With these fields of the database's Cloud SQL."""
        content = yaml.safe_load(STAGING.read_text())
        content["environment"] = ENVIRONMENT
        cloud_sql = CloudSql(
            project=PROJECT,
            instance=INSTANCE,
            credentials=f"file:{self.folder}/google.json",
            url=self.google.url,
            operation_seconds=60,
            timeout=10,
        ).model_dump()
        content["database"] |= {
            "url": f"file:{self.folder}/url",
            "variable": VARIABLE,
            "cloud_sql": {**cloud_sql, **database},
        }
        path = self.folder / f"{ENVIRONMENT}.yaml"
        path.write_text(yaml.safe_dump(content))
        self.stack.run("apply", str(path))


@contextmanager
def shop_on_cloud_sql(stack: RunningStack, folder: Path) -> Iterator[OnCloudSql]:
    """Its platform is as before afterwards. In the end all calls were as Google describes them."""
    with TemporaryDirectory(prefix="clones-") as clones, running_google_tokens() as tokens:
        if POSTGRES_USER:
            os.chmod(clones, 0o700)
            subprocess.run(["chown", POSTGRES_USER, clones], check=True, timeout=10)
        copies = Copies(stack, Path(clones))
        try:
            with running_cloud_sql(tokens, discovered("google-sqladmin-v1"), copies) as google:
                _write_references(stack, folder, tokens)
                platform = _platform(stack, folder)
                variables, traffic = platform.read_variables(), platform.read_traffic()
                may_connect = frozenset(ShopDatabase(stack).read().may_connect)
                shop = OnCloudSql(stack, google, copies, folder, traffic, may_connect)
                shop.apply()
                shop.mend()
                try:
                    yield shop
                finally:
                    platform.set_variables(variables)
                    platform.shift_traffic(traffic)
        finally:
            copies.close()


def _write_references(stack: RunningStack, folder: Path, tokens: GoogleTokens) -> None:
    write_private(folder / "google.json", tokens.key())
    write_private(folder / "token", stack.layout.credentials.staging.sandbox_token)
    write_private(folder / "url", stack.layout.database_url(NAME))


def _platform(stack: RunningStack, folder: Path) -> SandboxPlatform:
    return SandboxPlatform(url=stack.layout.control_url("staging"), token=f"file:{folder}/token", timeout=5)
