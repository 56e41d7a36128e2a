"""What a database holds, table by table, from the files that pg_dump writes of it.

The same rows come out as the same bytes, so a digest that was taken while the database was
dumped is compared with one that is taken from a dump of what was restored.
"""

import hashlib
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

from blocks.errors import BackstopError
from blocks.manifest import TableContent
from blocks.postgres.connection import libpq_environment
from blocks.postgres.dump import Dump
from blocks.postgres.programs import Programs
from blocks.postgres.scratch import scratch_folder
from blocks.postgres.snapshot import COPY_OPTIONS, Snapshot, Table
from blocks.surroundings import BARE
from tasks.ledger import current_run

END_OF_ROWS = b"\\.\n\n\n"
"""What pg_dump writes behind them."""
_TABLE_FILE = re.compile(r"(\d+)\.dat")
_LARGE_OBJECT_FILE = re.compile(r"blob_\d+\.dat")
_LISTED_TABLE = re.compile(r"(\d+); \d+ (\d+) TABLE DATA ")
_LIST_SECONDS = 120


class RowsDigest:
    """Count and SHA-256 of a table's rows as COPY writes them."""

    def __init__(self) -> None:
        self.rows = 0
        self._digest = hashlib.sha256()
        self._tail = b""

    def update(self, chunk: bytes) -> None:
        seen = self._tail + chunk if self._tail else chunk
        self._tail = seen[-len(END_OF_ROWS) :]
        rows = memoryview(seen)[: -len(END_OF_ROWS)]
        self._digest.update(rows)
        self.rows += seen.count(b"\n", 0, len(rows))

    def finish(self) -> str:
        """The digest, once the whole file was seen."""
        if self._tail != END_OF_ROWS:
            raise BackstopError("pg_dump wrote a table in a form that is not known: it does not end as rows do.")
        return self._digest.hexdigest()


class ContentSink:
    """Reads every file of a dump and keeps their digests only. Files arrive in several threads."""

    def __init__(self) -> None:
        self.contents = b""
        """Of toc.dat."""
        self.bytes_read = 0
        self._digests: dict[str, RowsDigest] = {}
        self._large_objects = 0
        self._lock = threading.Lock()

    def take_large(self, name: str, chunks: Iterator[bytes]) -> None:
        for _ in self.digested(name, chunks):
            pass

    def take_small(self, files: Iterator[tuple[str, bytes]]) -> None:
        for name, content in files:
            self.note(name, content)

    def note(self, name: str, content: bytes) -> None:
        """A small file, whole."""
        for _ in self.digested(name, iter([content])):
            pass
        if name == "toc.dat":
            self.contents = content

    def digested(self, name: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The same chunks, while what they hold is taken note of."""
        rows = self._digests.setdefault(name, RowsDigest()) if _TABLE_FILE.fullmatch(name) else None
        other = hashlib.sha256(name.encode())
        for chunk in chunks:
            if rows:
                rows.update(chunk)
            elif _LARGE_OBJECT_FILE.fullmatch(name):
                other.update(chunk)
            self.bytes_read += len(chunk)
            yield chunk
        if _LARGE_OBJECT_FILE.fullmatch(name):
            with self._lock:  # a sum, as nobody knows the order
                self._large_objects = (self._large_objects + int.from_bytes(other.digest())) % (1 << 256)

    @property
    def large_objects_sha256(self) -> str:
        return f"{self._large_objects:064x}"

    def tables(self, programs: Programs, known: list[Table]) -> list[TableContent]:
        """What each of the known tables held; one without a file in the dump held nothing that is dumped."""
        by_oid = {table.oid: table for table in known}
        found = []
        for number, oid in list_table_files(programs, self.contents):
            table = by_oid.get(oid)
            digest = self._digests.get(f"{number}.dat")
            if table is None or digest is None:
                raise BackstopError(f"pg_dump wrote a table (oid {oid}) that the snapshot does not have.")
            content = {"schema_name": table.schema, "name": table.name, "columns": table.columns}
            found.append(TableContent(**content, rows=digest.rows, sha256=digest.finish()))
        return sorted(found, key=lambda table: (table.schema_name, table.name))


def list_table_files(programs: Programs, contents: bytes) -> list[tuple[int, int]]:
    """(number of the file, oid of the table) of every table with rows in the archive."""
    with scratch_folder("contents") as folder:
        (folder / "toc.dat").write_bytes(contents)
        listed = subprocess.run(
            [programs.path("pg_restore"), "--list", str(folder)],
            env=BARE,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LIST_SECONDS,
            check=False,
        )
    if listed.returncode:
        raise BackstopError(f"pg_restore cannot read the archive's contents: {listed.stderr.strip()[:200]}")
    found = (_LISTED_TABLE.match(line) for line in listed.stdout.splitlines())
    return [(int(match[1]), int(match[2])) for match in found if match]


class Source(NamedTuple):
    """A database to read, and the programs that can."""

    url: str
    programs: Programs
    database: str = ""
    """In place of the one that the URL names."""


def dump_into(
    sink: ContentSink,
    source: Source,
    snapshot: Snapshot,
    schema_only: bool = False,
    on_look: Callable[[], None] = lambda: None,
) -> None:
    """Dump what the snapshot sees, through the sink."""
    options = [f"--snapshot={snapshot.id}", *(["--schema-only"] if schema_only else [])]
    with (
        scratch_folder("dump") as folder,
        libpq_environment(source.url, current_run().id, source.database) as environment,
    ):
        environment["PGOPTIONS"] = f"{environment.get('PGOPTIONS', '')} {COPY_OPTIONS}".strip()
        Dump(folder / "archive", sink, on_look).run(source.programs, environment, options)
