"""Out of the store, into a database: a backup's archive is opened while pg_restore reads it."""

import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from blocks.environment import Environment
from blocks.errors import BackupIsBad
from blocks.manifest import Manifest, Member
from blocks.postgres.connection import connect, libpq_environment
from blocks.postgres.programs import Programs
from blocks.postgres.restore import Feed, restore
from blocks.postgres.scratch import scratch_folder
from blocks.reference import resolve
from blocks.sealing import Unsealing, unseal
from blocks.stores.interface import Store
from blocks.unpack import unpack
from tasks.catalogue import folder_of, store_of
from tasks.ledger import current_run
from tasks.pieces import read_pieces


class Archive(NamedTuple):
    """A backup, and what it takes to open it."""

    store: Store
    folder: str
    manifest: Manifest
    identity: str | None


class Target(NamedTuple):
    """A database to restore into, which exists and is empty."""

    url: str
    database: str
    programs: Programs


def archive_of(environment: Environment, manifest: Manifest) -> Archive:
    """Raises MissingReference where the identity is named and not there."""
    identity = environment.backups.identity
    return Archive(
        store_of(environment),
        folder_of(environment, manifest.id),
        manifest,
        resolve(identity) if identity else None,
    )


@contextmanager
def opened(archive: Archive) -> Iterator[Path]:
    """A directory with the archive's small files, toc.dat among them. Raises BackupIsBad."""
    piece = archive.manifest.small_files
    with scratch_folder("restore") as folder:
        chunks = read_pieces(archive.store, archive.folder, [piece])
        with (
            Unsealing(chunks, piece.name, archive.identity) as small,
            tarfile.open(fileobj=small.file, mode="r|") as files,
        ):
            unpack(files, folder)
        yield folder


def restore_into(
    target: Target, archive: Archive, options: list[str], on_read: Callable[[int], None] = lambda size: None
) -> None:
    """Restore everything. `on_read` is told how many bytes of content were read.

    Raises RestoreFailed, ServerFailed, BackupIsBad, Unreachable; then the database is not to be used.
    """
    size = 0

    def count(read: int) -> None:
        nonlocal size
        size += read

    with (
        opened(archive) as folder,
        libpq_environment(target.url, current_run().id, target.database) as environment,
    ):
        feeds = {member.name: feed_of(archive, member, count) for member in archive.manifest.members}
        major = _server_major(target)
        restore(target.programs, folder, feeds, environment, options, lambda: on_read(size), server_major=major)


def _server_major(target: Target) -> int:
    with connect(target.url, current_run().id, target.database) as connection:
        return connection.info.server_version // 10_000


def feed_of(archive: Archive, member: Member, count: Callable[[int], None] = lambda size: None) -> Feed:
    """What writes the content of one large file. Raises BackupIsBad when it is not what was written."""

    def feed(write: Callable[[bytes], object]) -> None:
        size = 0

        def write_and_count(chunk: bytes) -> None:
            nonlocal size
            write(chunk)
            size += len(chunk)
            count(len(chunk))

        chunks = read_pieces(archive.store, archive.folder, member.pieces)
        unseal(chunks, member.pieces[0].name, archive.identity, write_and_count)
        if size != member.size:
            raise BackupIsBad(f"{member.name} has {size} bytes; it was written with {member.size}.")

    return feed
