"""An environment whose database is backed up and proven by the steps alone, without Prefect around them."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import pyrage

from blocks.backups import Backups
from blocks.database import PostgresDatabase
from blocks.environment import Environment
from blocks.metrics.prometheus_endpoint import PrometheusEndpoint
from blocks.platforms.sandbox import SandboxPlatform
from blocks.service import Service
from blocks.sources.git_repository import GitRepository
from blocks.stores.directory import DirectoryStore
from blocks.stores.interface import Store
from flows.guards.lock import locked
from tasks.backup import plan_backup, write_backup
from tasks.catalogue import Backup, find_backup
from tasks.ledger import Run, run_record
from tasks.verification import verify_cheaply, verify_fully
from tests.databases.roles import make_role
from tests.deployments.shop.processes import Postgres
from tests.ledger_database import LedgerDatabase

EVERYTHING = Path(__file__).with_name("everything.sql")


class Practice:
    def __init__(self, ledger: LedgerDatabase, server: Postgres, database: str, folder: Path) -> None:
        self._ledger = ledger
        self.server = server
        self.database = database
        self.folder = folder
        self.major = int(str(server.execute("SHOW server_version_num")[0][0])) // 10_000
        self.backup_url = make_role(server, database, "backup_url")
        self.identity = pyrage.x25519.Identity.generate()
        self.store_folder = folder / "store"
        self.store_folder.mkdir()
        self.environment = self.describe()

    def describe(self, store: Store | None = None, **backups: Any) -> Environment:
        url, identity = self.server.url(self.database), str(self.identity)
        for name, value in {"url": url, "backup_url": self.backup_url, "identity": identity}.items():
            (self.folder / name).write_text(value)
        sealing = {"recipients": [str(self.identity.to_public())], "identity": f"file:{self.folder}/identity"}
        return Environment(
            environment="shop",
            platform=SandboxPlatform(url="http://127.0.0.1:1", token="${NOT_THERE}", timeout=1),
            service=Service(url="http://127.0.0.1:1"),
            metrics=PrometheusEndpoint(),
            source=GitRepository(folder="unused"),
            database=PostgresDatabase(url=f"file:{self.folder}/url", backup_url=f"file:{self.folder}/backup_url"),
            store=store or DirectoryStore(folder=str(self.store_folder)),
            backups=Backups(**sealing | backups),
        )

    @contextmanager
    def run(self, aspect: str) -> Iterator[Run]:
        run_id = str(uuid.uuid4())
        with self._ledger.connect(run_id) as connection:
            run = Run(run_id, "practice", "shop", "Ada", connection)
            with run_record(run, {}), locked(self.environment, aspect=aspect):
                yield run

    def execute(self, statement: str) -> None:
        """As the database's owner."""
        self.server.execute(statement, self.database)

    @cached_property
    def unchanged(self) -> Backup:
        """A backup that no test damages."""
        return self.back_up()

    def back_up(self, label: str = "", schema_only: bool = False) -> Backup:
        with self.run("backups"):
            plan = plan_backup.fn(self.environment, label, schema_only)
            manifest = write_backup.fn(self.environment, plan)
        return self.find(manifest.id)

    def find(self, backup_id: str) -> Backup:
        return find_backup(self.environment, backup_id)

    def verify(self, backup: Backup, full: bool = True) -> list[str]:
        """The findings."""
        with self.run("proofs"):
            return verify_fully.fn(self.environment, backup)[0] if full else verify_cheaply.fn(self.environment, backup)

    def path(self, backup: Backup, name: str) -> Path:
        """Of an object in the store's folder."""
        return self.store_folder / "shop" / backup.id / name

    def edit_manifest(self, backup: Backup, **changes: Any) -> Backup:
        path = self.path(backup, "manifest.json")
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
        return self.find(backup.id)


@contextmanager
def practising(ledger: LedgerDatabase, server: Postgres, folder: Path, script: str = "") -> Iterator[Practice]:
    """In a new database, which the script has filled."""
    database = server.make_database()
    if script:
        server.execute(script, database)
    yield Practice(ledger, server, database, folder)
    server.execute(f"DROP DATABASE {database} WITH (FORCE)")


def script_of_everything(server: Postgres) -> str:
    """The script of a database with one of everything."""
    if not server.execute("SELECT 1 FROM pg_roles WHERE rolname = 'everything_reader'"):
        server.execute("CREATE ROLE everything_reader")
    return EVERYTHING.read_text()
