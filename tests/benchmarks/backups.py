"""Backup, proof and restore of a gigabyte beside what the runbooks do: seconds, CPU seconds, memory, scratch.

    python -m tests.benchmarks backups

An S3 server on this machine keeps the backups; its CPU, and the database server's, compete with all the others.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil
from rich.console import Console
from rich.table import Table

from blocks.ledger.connection import migrate
from blocks.manifest import Manifest
from blocks.postgres.connection import connect, libpq_environment
from blocks.postgres.programs import find_programs
from tasks.archive import Target, archive_of, restore_into
from tests.blocks.stores.servers import S3Server, running_swift
from tests.databases.practice import Practice
from tests.deployments.shop.processes import running_postgres
from tests.ledger_database import create_ledger_role, empty_database

ROUNDS = int(os.environ.get("ROUNDS", "3"))
FILL = (
    "CREATE TABLE visit (id bigserial PRIMARY KEY, who text, kind int, at timestamptz, detail jsonb)",
    "INSERT INTO visit (who, kind, at, detail) SELECT md5(i::text) || md5((i * 7)::text) || ' came by again and again '"
    " || i, i % 1000, timestamptz '2020-01-01' + i * interval '1 s', jsonb_build_object('k', i, 'v', md5((i*3)::text),"
    " 'w', md5((i*5)::text) || md5((i*11)::text)) FROM generate_series(1, 2600000) i",
    "CREATE TABLE sale AS SELECT * FROM visit WHERE id % 3 = 0",
    "CREATE INDEX ON visit (kind)",
    "CREATE INDEX ON sale (at)",
    "DO $$ BEGIN FOR i IN 1..30 LOOP EXECUTE format('CREATE TABLE small_%s AS SELECT * FROM visit LIMIT 500', i);"
    " END LOOP; END $$",
    "SELECT lo_from_bytea(0, convert_to(repeat(md5(i::text), 2000), 'UTF8')) FROM generate_series(1, 20) i",
    "VACUUM ANALYZE",
)
UPLOAD = [sys.executable, "-m", "tests.benchmarks.transfer"]
PROGRAMS = next(programs for programs in find_programs() if programs.major == 16)
Act = Callable[[], object]


class Cost(NamedTuple):
    seconds: float
    cpu_seconds: float
    megabytes: float
    """Proportional set size, children included, at its highest."""
    scratch: float
    """MB in the folder for temporary files, at its highest."""


class Bench:
    """What is backed up, and to where."""

    def __init__(self, practice: Practice, s3: S3Server, folder: Path) -> None:
        self.practice = practice
        self.s3 = s3
        self.folder = folder
        self.bucket = s3.make_bucket()
        os.environ.update(s3.secrets())
        store = s3.store(self.bucket, part_bytes=8 << 20)
        self.encrypted = practice.describe(store)
        self.plain = practice.describe(store, recipients=[], identity=None)
        self.manifest: Manifest | None = None

    def back_up(self, encrypted: bool) -> None:
        self.practice.environment = self.encrypted if encrypted else self.plain
        self.manifest = self.practice.back_up().manifest

    def prove(self) -> None:
        assert self.manifest
        findings = self.practice.verify(self.practice.find(self.manifest.id))
        assert findings == [], findings

    def restore(self) -> None:
        assert self.manifest
        self.recreate("restored")
        target = Target(self.practice.server.url(), "restored", PROGRAMS)
        with self.practice.run("proofs"):
            restore_into(target, archive_of(self.practice.environment, self.manifest), [])

    def recreate(self, name: str) -> None:
        with connect(self.practice.server.url(), "bench") as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name}".encode())
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())

    def shell(self, line: str, database: str = "") -> None:
        """As somebody would type it, the programs' folder being on PATH."""
        url = self.practice.server.url(database or self.practice.database)
        with libpq_environment(url, "bench") as environment:
            environment |= {"PATH": f"{PROGRAMS.folder}:{os.environ['PATH']}", "S3_ENDPOINT": self.s3.endpoint}
            environment |= {"S3_BUCKET": self.bucket, **self.s3.secrets(), "TRANSFER": " ".join(UPLOAD)}
            environment |= {"FILE": str(self.folder / "dump"), "PYTHONPATH": os.getcwd()}
            subprocess.run(
                ["bash", "-o", "pipefail", "-ec", f"trap 'rm -f \"$FILE\"' EXIT; {line}"],
                env=environment,
                check=True,
                stdout=subprocess.DEVNULL,
                timeout=600,
            )

    def drop_backups(self) -> None:
        """Between rounds: the server keeps everything on this machine's disk."""
        client = self.s3.client()
        for found in client.list_objects_v2(Bucket=self.bucket).get("Contents", []):
            client.delete_object(Bucket=self.bucket, Key=found["Key"])


def main() -> None:
    console = Console(width=130)
    with bench() as on:
        contenders: dict[str, Act] = {
            "pg_dump | gzip > file, upload": lambda: on.shell('pg_dump | gzip > "$FILE"; $TRANSFER up a "$FILE"'),
            "pg_dump -Fc -Z9 > file, upload": lambda: on.shell('pg_dump -Fc -Z9 > "$FILE"; $TRANSFER up b "$FILE"'),
            "pg_dump -Fc -Z0 | zstd -1 | upload": lambda: on.shell("pg_dump -Fc -Z0 | zstd -q -1 | $TRANSFER up c -"),
            "back-up-database": lambda: on.back_up(encrypted=False),
            "back-up-database, encrypted": lambda: on.back_up(encrypted=True),
        }
        show(console, "Backup of 1 GB", in_turns(contenders))
        restores: dict[str, Act] = {
            "download | gunzip | psql": lambda: restore_by_psql(on),
            "download, pg_restore --clean": lambda: restore_by_pg_restore(on),
            "restore into a new database": on.restore,
            "full verification": on.prove,
        }
        show(console, "Restore of it", in_turns(restores))


def restore_by_psql(on: Bench) -> None:
    on.recreate("restored")
    on.shell("$TRANSFER down a - | gunzip | psql -q -v ON_ERROR_STOP=1", "restored")


def restore_by_pg_restore(on: Bench) -> None:
    """Over what an earlier restore left, as the runbook does."""
    on.shell('$TRANSFER down b "$FILE"; pg_restore --clean --if-exists -d restored "$FILE"', "restored")


@contextmanager
def bench() -> Iterator[Bench]:
    with ExitStack() as parts, tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        os.environ["BACKSTOP_EVIDENCE"] = str(folder / "evidence")
        (folder / "swift").mkdir()
        s3 = parts.enter_context(running_swift(folder / "swift"))
        server = parts.enter_context(running_postgres())
        create_ledger_role(server)
        ledger = parts.enter_context(empty_database(server))
        with ledger.connect("schema") as connection:
            migrate(connection)
        database = server.make_database()
        with connect(server.url(database), "bench") as filling:
            for statement in FILL:
                filling.execute(statement.encode())
        yield Bench(Practice(ledger, server, database, folder), s3, folder)


def in_turns(contenders: dict[str, Act]) -> dict[str, list[Cost]]:
    costs: dict[str, list[Cost]] = {name: [] for name in contenders}
    for _ in range(ROUNDS):
        for name, act in contenders.items():
            costs[name].append(measure(act))
    return costs


def measure(act: Act) -> Cost:
    ended, peaks = threading.Event(), [0.0, 0.0]
    watch = threading.Thread(target=_watch, args=(ended, peaks))
    base = _scratch()
    before, began = os.times(), time.monotonic()
    watch.start()
    try:
        act()
    finally:
        ended.set()
        watch.join()
    seconds, after = time.monotonic() - began, os.times()
    cpu = sum(after[:4]) - sum(before[:4])
    return Cost(seconds, cpu, peaks[0], max(0, peaks[1] - base))


def show(console: Console, title: str, costs: dict[str, list[Cost]]) -> None:
    first = median(cost.seconds for cost in next(iter(costs.values())))
    table = Table("", "seconds", "CPU seconds", "memory MB", "scratch MB", "times as fast as the first", title=title)
    for name, runs in costs.items():
        seconds = median(cost.seconds for cost in runs)
        table.add_row(
            name,
            f"{seconds:.1f} ({min(c.seconds for c in runs):.1f}–{max(c.seconds for c in runs):.1f})",
            f"{median(cost.cpu_seconds for cost in runs):.1f}",
            f"{median(cost.megabytes for cost in runs):.0f}",
            f"{median(cost.scratch for cost in runs):.0f}",
            f"{first / seconds:.1f}",
        )
    table.caption = f"Medians of {ROUNDS}, in turns (lowest–highest). CPU and memory: the client's, not the servers'."
    console.print(table)


def _watch(ended: threading.Event, peaks: list[float]) -> None:
    me = psutil.Process()
    while not ended.wait(0.2):
        total = 0
        for process in [me, *me.children(recursive=True)]:
            try:
                if process.name() == "postgres" or "swift_server" in " ".join(process.cmdline()):
                    continue
                total += process.memory_full_info().pss
            except psutil.Error:
                continue
        peaks[0] = max(peaks[0], total / 1e6)
        peaks[1] = max(peaks[1], _scratch())


def _scratch() -> float:
    """MB on disk in what the contenders write: their dump file, and Backstop's own temporary folders."""
    total = 0
    for pattern in ("backstop-dump-*", "backstop-restore-*", "bench-*/dump"):
        for found in Path(tempfile.gettempdir()).glob(pattern):
            for path in [found, *found.rglob("*")]:
                try:
                    total += path.lstat().st_blocks * 512
                except FileNotFoundError:
                    continue
    return total / 1e6


if __name__ == "__main__":
    main()
