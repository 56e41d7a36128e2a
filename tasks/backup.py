"""Write a backup of a database: dumped, sealed and stored in one stream; the manifest last."""

import hashlib
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib.metadata import version

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel

from blocks.environment import Environment
from blocks.errors import BackstopError, Refused, Unreachable
from blocks.evidence import Evidence
from blocks.manifest import Manifest, Member, Piece, new_id
from blocks.postgres.connection import connect, libpq_environment, read_conninfo
from blocks.postgres.dump import JOBS
from blocks.postgres.programs import Programs, find_programs_for
from blocks.postgres.snapshot import Snapshot, open_snapshot
from blocks.reference import resolve
from blocks.sealing import Seal, read_recipient
from blocks.stores.interface import Store
from tasks.catalogue import MANIFEST, Catalogue, folder_of, is_local, read_catalogue, store_of
from tasks.database_content import ContentSink, Source, dump_into
from tasks.effect import effect
from tasks.ledger import current_run
from tasks.live_database import backup_url
from tasks.markdown import plain
from tasks.pieces import PieceWriter
from tasks.traffic import read_main_release
from tasks.transfer_progress import TransferProgress, in_words

SMALL_FILES = "files.tar"
GLOBALS = "globals.sql"
ABANDONED = timedelta(days=1)
"""What was begun and not finished for so long belongs to no run any more."""
_GLOBALS_SECONDS = 120
_ALEMBIC = "SELECT string_agg(version_num, ',' ORDER BY version_num) FROM public.alembic_version"


class BackupPlan(BaseModel):
    """What the backup is about to do, and what it takes."""

    environment: str
    label: str
    schema_only: bool
    database_bytes: int
    server_version: str
    dump_version: str
    encrypted: bool
    store: str
    expected_bytes: int
    """Content; from the newest backup, else from the database's size."""
    expected_seconds: float | None
    notes: list[str]


class ArchiveSink(ContentSink):
    """Stores every file of the dump while its content is taken note of."""

    def __init__(self, store: Store, folder: str, seal: Seal) -> None:
        super().__init__()
        self._store = store
        self._folder = folder
        self._seal = seal
        self._members_lock = threading.Lock()
        self.members: list[Member] = []
        self.small_files: list[Piece] = []

    def take_large(self, name: str, chunks: Iterator[bytes]) -> None:
        size = 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for chunk in self.digested(name, chunks):
                size += len(chunk)
                yield chunk

        with PieceWriter(self._store, self._folder, name + self._seal.suffix) as writer:
            self._seal.write(counted(), writer)
        with self._members_lock:
            self.members.append(Member(name=name, size=size, pieces=writer.pieces))

    def take_small(self, files: Iterator[tuple[str, bytes]]) -> None:
        with PieceWriter(self._store, self._folder, SMALL_FILES + self._seal.suffix) as writer:
            self._seal.write(self._as_tar(files), writer)
        if len(writer.pieces) > 1:
            raise BackstopError("The database's small tables together are larger than one object may be.")
        self.small_files = writer.pieces

    def _as_tar(self, files: Iterator[tuple[str, bytes]]) -> Iterator[bytes]:
        for name, content in files:
            self.note(name, content)
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o600
            yield entry.tobuf(tarfile.GNU_FORMAT)
            yield content
            yield bytes(-len(content) % tarfile.BLOCKSIZE)
        yield bytes(2 * tarfile.BLOCKSIZE)


@task(name="Plan backup", cache_policy=NO_CACHE)
def plan_backup(environment: Environment, label: str, schema_only: bool) -> BackupPlan:
    """Look at everything that a backup depends on. Raises Refused for what it lacks."""
    store, url = store_of(environment), backup_url(environment)
    seal_of(environment)
    with connect(url, current_run().id, statement_seconds=30) as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        server = connection.info.server_version
    programs = find_programs_for(server // 10_000)
    catalogue = read_catalogue(environment)
    expected, seconds = _expect(catalogue, int(str(row[0])) if row else 0)
    plan = BackupPlan(
        environment=environment.environment,
        label=label,
        schema_only=schema_only,
        database_bytes=int(str(row[0])) if row else 0,
        server_version=f"{server // 10_000}.{server % 10_000}",
        dump_version=programs.version,
        encrypted=bool(environment.backups.recipients),
        store=store.get_block_type_slug(),
        expected_bytes=expected,
        expected_seconds=seconds,
        notes=list(_notes(environment, store, seconds)),
    )
    free = store.read_free_bytes()
    if free is not None and free < expected:
        raise Refused(
            f"The store has {in_words(free)} free; this backup may take {in_words(expected)}.",
            "Make room, or prune backups. Nothing was changed.",
        )
    return plan


def publish_backup_plan(plan: BackupPlan) -> None:
    current_run().record("plan made", **plan.model_dump())
    create_markdown_artifact("\n".join(_page(plan)), key="plan", description=f"Back up {plan.environment}")


# Never repeated by itself: a new attempt is a new backup, with a snapshot of its own.
@task(name="Write backup", cache_policy=NO_CACHE)
def write_backup(environment: Environment, plan: BackupPlan, url: str = "") -> Manifest:
    """Dump, seal and store the database, then the manifest. Raises BackstopError; then there is no backup.

    `url`: another login than the backup's own, or another database, that holds what the environment's data shall be.
    """
    began, url = time.monotonic(), url or backup_url(environment)
    progress = TransferProgress(f"Backing up {plan.environment}", plan.expected_bytes)
    with open_snapshot(url, current_run().id) as snapshot:
        facts = snapshot.read_facts()
        programs = find_programs_for(facts.server_version // 10_000)
        backup_id = new_id(facts.taken_at, current_run().id)
        folder = folder_of(environment, backup_id)
        seal = seal_of(environment)
        sink = ArchiveSink(store_of(environment), folder, seal)
        # No effect yet: without its manifest, what is written is no backup, and is swept.
        sequences = snapshot.read_sequences()  # before the dump: other than rows, they go on meanwhile
        revision = _read_revision(environment, snapshot)
        own = _address(url) == _address(backup_url(environment))
        globals_ = _write_globals(programs, url, store_of(environment), folder, seal) if own else None
        source = Source(url, programs)
        dump_into(sink, source, snapshot, plan.schema_only, lambda: progress.show(sink.bytes_read))
        manifest = Manifest(
            id=backup_id,
            environment=plan.environment,
            label=plan.label,
            kind="schema-only" if plan.schema_only else "full",
            finished_at=datetime.now(UTC),
            dump_version=programs.version,
            backstop_version=version("backstop"),
            release=_read_release(environment),
            schema_revision=revision,
            small_files=sink.small_files[0],
            members=sorted(sink.members, key=lambda member: member.name),
            globals=globals_,
            tables=sink.tables(programs, snapshot.read_tables()),
            sequences=sequences,
            large_objects_sha256=sink.large_objects_sha256,
            content_bytes=sink.bytes_read,
            run_id=current_run().id,
            seconds=round(time.monotonic() - began, 2),
            **facts.model_dump(),
        )
        _write_manifest(store_of(environment), folder, manifest)
    progress.finish()
    return manifest


# Repeating is safe: what is gone stays gone.
@task(name="Sweep unfinished uploads", cache_policy=NO_CACHE)
def sweep_unfinished(environment: Environment) -> list[str]:
    """Give up what dead runs began to upload and never finished; returns the names."""
    before = datetime.now(UTC) - ABANDONED
    swept = store_of(environment).abort_unfinished(f"{environment.environment}/", before)
    if swept:
        current_run().record("unfinished uploads swept", names=swept[:100], count=len(swept))
    return swept


def seal_of(environment: Environment) -> Seal:
    """How this environment's backups are sealed. Raises Refused for a recipient that is none."""
    recipients = tuple(resolve(recipient) for recipient in environment.backups.recipients)
    for number, recipient in enumerate(recipients):
        try:
            read_recipient(recipient)
        except ValueError as error:
            raise Refused(f"backups.recipients.{number} of {environment.environment} {error}.") from None
    return Seal(recipients, environment.backups.compression)


def evidence_name(manifest: Manifest) -> str:
    """Where the manifest's digest is kept outside the store."""
    return f"backups/{manifest.environment}-{manifest.id}.sha256"


def _write_manifest(store: Store, folder: str, manifest: Manifest) -> None:
    content = manifest.model_dump_json(indent=1).encode()
    digest = hashlib.sha256(content).hexdigest()
    try:
        with (
            effect("write manifest", backup=manifest.id),
            store.writing(f"{folder}/{MANIFEST}", only_if_absent=True) as writer,
        ):
            writer.write(content)
    except Unreachable as error:
        hint = f"Backup {manifest.id} is there, whole, if its manifest arrived; else there is none. Make a new one."
        raise Unreachable(error.message, hint) from None
    Evidence.from_surroundings().write_once(evidence_name(manifest), digest)
    current_run().record("backup complete", backup=manifest.id, manifest_sha256=digest)


def _address(url: str) -> list[str | None]:
    """Which database of which server, whoever logs in."""
    conninfo = read_conninfo(url)
    return [conninfo.get(part) for part in ("host", "hostaddr", "port", "dbname")]


def _write_globals(programs: Programs, url: str, store: Store, folder: str, seal: Seal) -> Piece | None:
    """None where the role may not read them, or the server takes too long; a restore then needs roles that exist."""
    with libpq_environment(url, current_run().id) as environment:
        command = [programs.path("pg_dumpall"), "--globals-only", "--no-role-passwords", "--no-password"]
        command += [f"--database={environment['PGDATABASE']}"] if "PGDATABASE" in environment else []
        try:
            dumped = subprocess.run(command, env=environment, capture_output=True, timeout=_GLOBALS_SECONDS, check=True)
        except subprocess.SubprocessError:
            return None
    with PieceWriter(store, folder, GLOBALS + seal.suffix) as writer:
        seal.write(iter([dumped.stdout]), writer)
    return writer.pieces[0]


def _read_release(environment: Environment) -> str:
    with suppress(BackstopError):
        main = read_main_release(environment.platform)
        return main.version if main else ""
    return ""


def _read_revision(environment: Environment, snapshot: Snapshot) -> str:
    if environment.backups.revision_sql:
        return snapshot.read_text(environment.backups.revision_sql)
    return snapshot.read_text(_ALEMBIC) if snapshot.has_table("public.alembic_version") else ""


def _expect(catalogue: Catalogue, database_bytes: int) -> tuple[int, float | None]:
    newest = catalogue.newest
    return (newest.manifest.content_bytes, newest.manifest.seconds) if newest else (database_bytes, None)


def _notes(environment: Environment, store: Store, seconds: float | None) -> Iterator[str]:
    yield (
        "It takes an ACCESS SHARE lock on every table until it ends, as pg_dump does: reads and writes go on,"
        " but DDL on a table waits, what comes after that DDL waits behind it, and it can fail the backup."
    )
    yield f"It keeps {JOBS} + 2 connections busy, and one snapshot open, which vacuum waits for."
    if not environment.backups.recipients:
        yield "It is not encrypted: the environment names no recipients."
    if is_local(store):
        yield "The store is a directory on the worker's machine: a lost machine is a lost backup."
    if seconds and seconds > environment.backups.rpo_minutes * 60:
        yield (
            f"The RPO of {environment.backups.rpo_minutes:g} minutes cannot be kept in this way:"
            f" the last backup took {seconds / 60:.1f} minutes."
        )


def _page(plan: BackupPlan) -> Iterator[str]:
    yield f"# Back up {plan.environment}"
    yield f"- **What:** {'the schema only' if plan.schema_only else 'everything'}, {in_words(plan.database_bytes)}"
    yield f"- **Label:** {plain(plan.label) or 'none'}"
    yield f"- **Server:** PostgreSQL {plan.server_version}, read with pg_dump {plan.dump_version}"
    yield f"- **To:** {plan.store}, {'encrypted with age' if plan.encrypted else 'not encrypted'}"
    if plan.expected_seconds is not None:
        yield f"- **Expected:** about {plan.expected_seconds:.0f} s, as the last one"
    yield "- **Undo:** none needed. Without its manifest, which is written last, it is no backup."
    yield ""
    yield from (f"- {note}" for note in plan.notes)
