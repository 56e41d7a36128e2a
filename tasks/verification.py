"""Verify a backup: cheaply by its digests, or fully by restoring it and comparing every row."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import NamedTuple

import psycopg
from prefect import task
from prefect.cache_policies import NO_CACHE
from psycopg import sql

from blocks.backups import Assertion
from blocks.environment import Environment
from blocks.errors import BackstopError, BackupIsBad, NotStored, Refused
from blocks.evidence import Evidence
from blocks.manifest import Manifest, Proof, SequenceState, TableContent
from blocks.postgres.connection import Connection, connect
from blocks.postgres.programs import Programs, find_programs
from blocks.postgres.restore import RestoreFailed
from blocks.postgres.snapshot import open_snapshot
from blocks.postgres.throwaway import throwaway_server
from blocks.reference import resolve
from tasks.archive import Archive, Target, archive_of, opened, restore_into
from tasks.backup import evidence_name
from tasks.catalogue import PROOFS, Backup, folder_of, store_of
from tasks.database_content import ContentSink, Source, dump_into, list_table_files
from tasks.ledger import current_run
from tasks.pieces import read_pieces
from tasks.transfer_progress import TransferProgress

SHOWN_FINDINGS = 10
ASSERTION_SECONDS = 60
EVERYTHING_BUT_THE_SERVER = ("--no-tablespaces", "--no-subscriptions")
"""What belongs to the server that was dumped. A restored subscription would draw from the live publisher."""


# Repeating is safe: it only reads.
@task(name="Verify cheaply", cache_policy=NO_CACHE)
def verify_cheaply(environment: Environment, backup: Backup) -> list[str]:
    """Every object is there with its size and digest, and the archive's contents can be listed; returns findings."""
    archive = archive_of(environment, backup.manifest)
    findings = list(manifest_findings(backup))
    progress = TransferProgress("Reading what is stored", backup.manifest.stored_bytes)
    done = 0
    for piece in backup.manifest.pieces:
        try:
            for chunk in read_pieces(archive.store, archive.folder, [piece]):
                done += len(chunk)
                progress.show(done)
        except BackstopError as error:
            findings.append(error.message)
    if not findings and (archive.identity or not environment.backups.recipients):
        findings += _listing_findings(archive)
    progress.finish()
    return findings


# Repeating is safe: every attempt has a server of its own.
@task(name="Verify fully", cache_policy=NO_CACHE)
def verify_fully(environment: Environment, backup: Backup) -> tuple[list[str], int]:
    """Restore into a throw-away server, compare every table, ask the environment's assertions.

    Returns the findings and the version of that server. Raises BackstopError where it could not be tried.
    """
    manifest, findings = backup.manifest, list(manifest_findings(backup))
    if manifest.kind != "full":
        raise Refused(f"{manifest.id} is {manifest.kind}: there are no rows to prove.")
    progress = TransferProgress("Restoring into a throw-away server", manifest.content_bytes)
    with proof_target(environment, manifest) as (target, options):
        try:
            restore_into(target, archive_of(environment, manifest), options, progress.show)
        except (BackupIsBad, NotStored, RestoreFailed) as error:
            return [*findings, error.message], 0
        progress.finish()
        findings += compare_content(manifest, target)
        findings += check_assertions(environment.backups.assertions, target)
        with connect(target.url, current_run().id, target.database) as connection:
            return findings, connection.info.server_version


# Repeating is safe: the name is the run's own.
@task(name="Write proof", cache_policy=NO_CACHE)
def write_proof(environment: Environment, proof: Proof) -> None:
    """Keep the result beside the manifest."""
    name = f"{folder_of(environment, proof.backup)}/{PROOFS}/{proof.verified_at:%Y%m%dT%H%M%SZ}-{proof.kind}.json"
    with store_of(environment).writing(name) as writer:
        writer.write(proof.model_dump_json(indent=1).encode())
    current_run().record("backup verified", backup=proof.backup, passed=proof.passed, proof=proof.kind)


def make_proof(environment: Environment, backup: Backup, full: bool) -> Proof:
    """Verify, and say how it went."""
    began, server = time.monotonic(), 0
    if full:
        findings, server = verify_fully(environment, backup)
    else:
        findings = verify_cheaply(environment, backup)
    return Proof(
        backup=backup.id,
        manifest_sha256=backup.manifest_sha256,
        kind="full" if full else "cheap",
        passed=not findings,
        findings=_shortened(findings),
        verified_at=datetime.now(UTC),
        server_version=server or None,
        assertions=[assertion.name for assertion in environment.backups.assertions] if full and not findings else [],
        run_id=current_run().id,
        seconds=round(time.monotonic() - began, 2),
    )


def _shortened(findings: list[str]) -> list[str]:
    more = len(findings) - SHOWN_FINDINGS
    return [*findings[:SHOWN_FINDINGS], *([f"… and {more} more"] if more > 0 else [])]


class Content(NamedTuple):
    """What a database holds."""

    tables: list[TableContent]
    sequences: list[SequenceState]
    large_objects_sha256: str


def read_content(target: Target) -> Content:
    """With a digest of every table: all of it is read."""
    sink = ContentSink()
    with open_snapshot(target.url, current_run().id, target.database) as snapshot:
        dump_into(sink, Source(target.url, target.programs, target.database), snapshot)
        tables = sink.tables(target.programs, snapshot.read_tables())
        return Content(tables, list(snapshot.read_sequences()), sink.large_objects_sha256)


def compare_content(manifest: Manifest, target: Target) -> Iterator[str]:
    """What differs between the backup's snapshot and the restored database, a sentence each."""
    yield from differences(manifest, read_content(target))


def differences(manifest: Manifest, content: Content) -> Iterator[str]:
    """Of the content from the backup's snapshot, a sentence each."""
    found = {(table.schema_name, table.name): table for table in content.tables}
    sequences = {(one.schema_name, one.name): one for one in content.sequences}
    for table in manifest.tables:
        yield from _table_findings(table, found.pop((table.schema_name, table.name), None))
    for schema, name in found:
        yield f"{schema}.{name} was restored, and the backup's snapshot had no such table."
    for sequence in manifest.sequences:
        restored = sequences.get((sequence.schema_name, sequence.name))
        if restored is None or not sequence.may_have_become(restored):
            yield f"Sequence {sequence.schema_name}.{sequence.name} stands behind where it stood."
    if content.large_objects_sha256 != manifest.large_objects_sha256:
        yield "The large objects differ."


def check_assertions(assertions: list[Assertion], target: Target) -> Iterator[str]:
    """Those that do not hold, a sentence each."""
    with connect(target.url, current_run().id, target.database, ASSERTION_SECONDS) as connection:
        connection.execute("SET default_transaction_read_only = on")
        for assertion in assertions:
            try:
                row = connection.execute(assertion.sql.encode()).fetchone()
            except psycopg.Error as error:
                yield f"'{assertion.name}' could not be asked: {error.diag.message_primary or type(error).__name__}."
                continue
            if row is None or row[0] is not True:
                yield f"'{assertion.name}' does not hold: the query says {row[0] if row else 'nothing'}."


@contextmanager
def proof_target(
    environment: Environment, manifest: Manifest, only_here: bool = False
) -> Iterator[tuple[Target, list[str]]]:
    """An empty database to prove the backup in, and the options that it takes there.

    `only_here`: on a server of its own, never on that of `scratch_url`. Raises Refused where none can take it.
    """
    missing: set[str] = set()
    for programs in _servers_for(manifest):
        with throwaway_server(programs) as url, connect(url, current_run().id) as connection:
            missing = _missing_extensions(connection, manifest)
            if not missing:
                _make_roles(connection, manifest)
                _make_database(connection, manifest)
                yield Target(url, manifest.database, programs), list(EVERYTHING_BUT_THE_SERVER)
                return
    if environment.backups.scratch_url and not only_here:
        with _scratch_target(resolve(environment.backups.scratch_url), manifest) as target:
            yield target, [*EVERYTHING_BUT_THE_SERVER, "--no-owner", "--no-privileges"]
            return
    wanted = f" with {', '.join(sorted(missing))}" if missing else ""
    raise Refused(
        f"No PostgreSQL {manifest.server_version // 10_000} or newer{wanted} was found to prove the backup in.",
        f"Install one where the worker runs{'' if only_here else ', or name a server in backups.scratch_url'}.",
    )


def _servers_for(manifest: Manifest) -> list[Programs]:
    """Those that can read the archive: as new as the server that was dumped, and as the pg_dump that read it."""
    least = max(manifest.server_version // 10_000, int(manifest.dump_version.partition(".")[0]))
    return [found for found in find_programs() if found.major >= least and (found.folder / "postgres").is_file()]


def _missing_extensions(connection: Connection, manifest: Manifest) -> set[str]:
    rows = connection.execute("SELECT name::text FROM pg_available_extensions")
    return set(manifest.extensions) - {str(name) for (name,) in rows}


def _make_roles(connection: Connection, manifest: Manifest) -> None:
    known = {name for (name,) in connection.execute("SELECT rolname::text FROM pg_roles")}
    for role in {*manifest.roles, manifest.owner} - known:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))


def _make_database(connection: Connection, manifest: Manifest) -> None:
    """With the collation of this machine: rows compare equal whatever their order in an index is."""
    connection.execute(
        sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING {}").format(
            sql.Identifier(manifest.database), sql.Identifier(manifest.owner), sql.Literal(manifest.encoding)
        )
    )


@contextmanager
def _scratch_target(url: str, manifest: Manifest) -> Iterator[Target]:
    name = f"backstop_proof_{manifest.id.lower().replace('-', '_')}"
    with connect(url, current_run().id) as connection:
        usable = [found for found in _servers_for(manifest) if found.major >= connection.info.server_version // 10_000]
        if _missing_extensions(connection, manifest) or not usable:
            raise Refused(f"The server of backups.scratch_url cannot take {manifest.id}: extension or version missing.")
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        connection.execute(drop)
        create = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING {}")
        connection.execute(create.format(sql.Identifier(name), sql.Literal(manifest.encoding)))
        try:
            yield Target(url, name, usable[0])
        finally:
            connection.execute(drop)


def manifest_findings(backup: Backup) -> Iterator[str]:
    """Whether it is the one that was written; where no evidence is kept, nobody can tell."""
    written = Evidence.from_surroundings().read(evidence_name(backup.manifest))
    if written and written.strip() != backup.manifest_sha256:
        yield "The manifest is not the one that was written: its digest differs from the one kept as evidence."


def _listing_findings(archive: Archive) -> Iterator[str]:
    usable: list[Programs] = _servers_for(archive.manifest)
    if not usable:
        return
    try:
        with opened(archive) as folder:
            listed = list_table_files(usable[0], (folder / "toc.dat").read_bytes())
    except (BackstopError, OSError) as error:
        yield f"The archive's contents cannot be listed: {error}"
        return
    if archive.manifest.kind == "full" and len(listed) != len(archive.manifest.tables):
        yield f"The archive lists {len(listed)} tables, its manifest {len(archive.manifest.tables)}."


def _table_findings(wanted: TableContent, found: TableContent | None) -> Iterator[str]:
    title = f"{wanted.schema_name}.{wanted.name}"
    if found is None:
        yield f"{title} was not restored."
    elif found.rows != wanted.rows:
        yield f"{title} has {found.rows} rows; it had {wanted.rows}."
    elif found.sha256 != wanted.sha256:
        yield f"{title} has the {wanted.rows} rows that it had, but not their content."
