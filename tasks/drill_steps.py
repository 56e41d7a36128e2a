"""What a drill is made of: a server of its own, what was restored into it, the application on that."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import datetime
from typing import NamedTuple

import psycopg

from blocks.errors import BackupIsBad, Refused, ReleaseIsBad
from blocks.manifest import TableContent
from blocks.postgres.child import Child
from blocks.postgres.connection import connect
from blocks.throwaway_redis import ThrowawayRedis, throwaway_redis
from tasks.archive import Target, archive_of, restore_into
from tasks.catalogue import Backup
from tasks.drill import Drill, DrillFailed
from tasks.drill_guard import require_own_server
from tasks.drill_report import SteadyState
from tasks.health import run_checks
from tasks.ledger import current_run
from tasks.traffic import read_main_release
from tasks.transfer_progress import TransferProgress
from tasks.trial import (
    Prepared,
    application_url,
    prepared,
    started,
    trial_of,
    wait_until_healthy,
)
from tasks.verification import check_assertions, differences, manifest_findings, proof_target, read_content

LOOK_SECONDS = 1.0
"""How often a monitor looks."""
DETECT_SECONDS = 60
"""What it has not noticed within so long, it does not notice."""
NEWEST_WRITE_SECONDS = 60


class Server(NamedTuple):
    """A database server of the drill's own."""

    target: Target
    options: list[str]
    url: str
    """For the application."""


class Application(NamedTuple):
    """The application as the drill runs it: cut off from every network."""

    address: str
    """For us."""
    process: Child


def backup_of(drill: Drill) -> Backup:
    """The one that this drill restores."""
    if drill.backup is None:
        raise Refused("No backup was chosen.")
    return drill.backup


@contextmanager
def provisioned(drill: Drill) -> Iterator[Server]:
    """A new server, empty. Raises Refused where this machine has none that could take the backup."""
    environment, manifest = drill.environment, backup_of(drill).manifest
    with proof_target(environment, manifest, only_here=True) as (target, options):
        require_own_server(environment, target.url)
        yield Server(target, options, application_url(environment, target, manifest))


def restore_backup(drill: Drill, server: Server) -> None:
    """Download, open and restore, which go on at the same time. Raises BackupIsBad, NotStored, RestoreFailed."""
    manifest = backup_of(drill).manifest
    progress = TransferProgress(f"Restoring {manifest.id} for the drill", manifest.content_bytes)
    restore_into(server.target, archive_of(drill.environment, manifest), server.options, progress.show)
    progress.finish()


def verify_data(drill: Drill, server: Server) -> SteadyState:
    """Every row is as it was backed up, and the assertions hold. Raises BackupIsBad with what is not so."""
    backup = backup_of(drill)
    content = read_content(server.target)
    findings = [
        *manifest_findings(backup),
        *differences(backup.manifest, content),
        *check_assertions(drill.environment.backups.assertions, server.target),
    ]
    if findings:
        problem = f"What was restored from {backup.id} is not what was backed up."
        drill.findings += [problem, *findings]
        raise BackupIsBad(problem)
    read_newest_write(drill, server)
    return steady_state("the restored copy", content.tables)


def read_newest_write(drill: Drill, server: Server) -> None:
    """How far back the copy goes: its newest write, or else the time of the backup."""
    backup, query = backup_of(drill), drill.policy.newest_write
    if not query:
        drill.newest_write, drill.rpo_how = (
            backup.dated,
            "by the time of the backup, as no query names the newest write",
        )
        return
    drill.rpo_how = "by the newest write in the restored copy"
    with connect(server.target.url, current_run().id, server.target.database, NEWEST_WRITE_SECONDS) as connection:
        connection.execute("SET default_transaction_read_only = on")
        try:
            row = connection.execute(query.encode()).fetchone()
        except psycopg.Error as error:
            raise DrillFailed(
                f"drills.newest_write could not be asked: {error.diag.message_primary or type(error).__name__}."
            ) from None
    newest = row[0] if row else None
    if newest is None:
        drill.newest_write, drill.rpo_how = backup.dated, "by the time of the backup, as nothing was written before it"
        return
    if not isinstance(newest, datetime) or newest.tzinfo is None:
        raise DrillFailed(f"drills.newest_write answers {newest!s:.60}, not a time with its zone.")
    drill.newest_write = newest


def cache_of_its_own(drill: Drill) -> AbstractContextManager[ThrowawayRedis | None]:
    """None where the application has none, or `trial` does not say in which variable it finds it."""
    wanted = drill.environment.cache and trial_of(drill.environment).cache_variable
    return throwaway_redis() if wanted else nullcontext()


@contextmanager
def checked_out(drill: Drill, server: Server, cache: ThrowawayRedis | None = None) -> Iterator[Prepared]:
    """The release that was backed up with the data, else the one that runs now; ready to be started."""
    version, commit = _release_of(drill)
    drill.version = version
    with prepared(drill.environment, commit, server.url) as release:
        own = {release.trial.cache_variable: cache.url} if cache else {}
        yield release._replace(variables={**release.variables, **own})


@contextmanager
def booted(drill: Drill, release: Prepared, server: Server) -> Iterator[Application]:
    """Running on that server's data, and healthy. Raises ReleaseIsBad when it ends instead, CannotCutOff."""
    with started(release, server.url) as (address, process):
        drill.isolation = "a network namespace of its own: no address but its own loopback can be reached"
        wait_until_healthy(drill.environment.service, address, process, trial_of(drill.environment).start_seconds)
        yield Application(address, process)


def verify_service(drill: Drill, application: Application) -> list[str]:
    """Health, critical endpoints, version and smoke test; what passed. Raises ReleaseIsBad."""
    service = drill.environment.service
    checks = run_checks(service, application.address, [drill.version] if drill.version else [])
    failed = [f"{check.name}: {check.detail}" for check in checks if not check.passed]
    if failed:
        raise ReleaseIsBad(f"The application on the restored data fails: {'; '.join(failed)}.")
    return [check.name for check in checks]


def wait_until_noticed(drill: Drill, address: str) -> None:
    """As a monitor that has just looked when it happened. Raises DrillFailed where none of its checks ever fails."""
    deadline = time.monotonic() + DETECT_SECONDS
    while time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
        if not all(check.passed for check in run_checks(drill.environment.service, address, [])):
            return
    raise DrillFailed(
        f"Nothing noticed within {DETECT_SECONDS} s: neither health, critical endpoints nor smoke test failed."
    )


def steady_state(of: str, tables: list[TableContent], passed: list[str] | None = None) -> SteadyState:
    digest = hashlib.sha256()
    for table in sorted(tables, key=lambda table: (table.schema_name, table.name)):
        digest.update(f"{table.schema_name}.{table.name} {table.sha256}\n".encode())
    return SteadyState(
        of=of,
        tables=len(tables),
        rows=sum(table.rows for table in tables),
        content_sha256=digest.hexdigest(),
        passed=passed or [],
    )


def fewer_rows(before: list[TableContent], after: list[TableContent]) -> set[str]:
    """Tables that have lost rows."""
    left = {(table.schema_name, table.name): table.rows for table in after}
    return {
        f"{table.schema_name}.{table.name}"
        for table in before
        if left.get((table.schema_name, table.name), -1) < table.rows
    }


class Stand(AbstractContextManager["Stand"]):
    """Everything that stands until the drill is over; taken down in the reverse order, which is measured, too."""

    def __init__(self, drill: Drill) -> None:
        self._drill = drill
        self.standing = ExitStack()

    def __exit__(self, *error: object) -> None:
        try:
            with self._drill.phase("clean up"):
                self.standing.close()
        finally:
            self.standing.close()  # where the ledger is gone, no phase begins


def _release_of(drill: Drill) -> tuple[str, str]:
    """Version and commit."""
    environment, version = drill.environment, backup_of(drill).manifest.release
    if version and (commit := environment.source.read_tag(version)):
        return version, commit
    running = read_main_release(environment.platform)
    if running is None:
        raise Refused("Neither the backup nor the platform knows a release that could be booted.")
    return running.version, running.commit
