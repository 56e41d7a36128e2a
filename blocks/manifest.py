"""The manifest of a backup: written last, and only if absent. Without one there is no backup."""

import hashlib
import re
from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel

from blocks.postgres.databases import Database

ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
"""When the snapshot was taken, and the run that took it."""


class Piece(BaseModel):
    """One object in the store."""

    name: str
    """Beside the manifest, as 3071.dat.zst.age."""
    size: int
    sha256: str


class Member(BaseModel):
    """A large file of the archive. Its pieces in their order, opened and joined, are the file."""

    name: str
    """In the archive's directory, as 3071.dat."""
    size: int
    """Bytes, opened."""
    pieces: list[Piece]


class TableContent(BaseModel):
    """What one table held in the snapshot."""

    schema_name: str
    name: str
    columns: list[str]
    """Those that COPY carries: without generated ones."""
    rows: int
    sha256: str
    """Of `COPY table (columns) TO STDOUT`, in the order of the rows in the table."""


class HeldContent(BaseModel):
    """What a database held that was never backed up here: a clone, of which there is no manifest."""

    taken_at: datetime
    """The moment that it is of."""
    tables: list[TableContent]
    """Without their columns."""
    large_objects: int
    large_objects_sha256: str


class SequenceState(BaseModel):
    """Where a sequence stood before the dump. It goes on while the dump reads, and never back."""

    schema_name: str
    name: str
    last_value: int
    is_called: bool
    increment: int
    cycles: bool

    def may_have_become(self, later: "SequenceState") -> bool:
        """Whether `later` can be this sequence some time after."""
        if self.cycles:
            return True
        went = (later.last_value - self.last_value) * (1 if self.increment > 0 else -1)
        return went > 0 or (went == 0 and later.is_called >= self.is_called)


class DatabaseFacts(BaseModel):
    """The database as a whole, in the snapshot."""

    taken_at: datetime
    """Of the snapshot, by the database's clock."""
    wal_position: str
    database: str
    owner: str
    encoding: str
    collation: str
    character_type: str
    locale_provider: str
    server_version: int
    """As 160014."""
    database_bytes: int
    """What it took on the server's disk."""
    large_objects: int
    extensions: dict[str, str]
    roles: list[str]
    """That own something or were granted something in it."""
    described: Database | None = None
    """What no dump carries: privileges, limit, comment and the server's own settings, for when the database is gone."""
    custom_settings: list[str] = []
    """Names of the settings that applications made up, as app.jwt_secret. Their values may be secret: not kept."""


class Manifest(DatabaseFacts):
    """Everything that a restore has to know, and everything that a proof compares."""

    format: Literal[1] = 1
    id: str
    environment: str
    label: str = ""
    kind: Literal["full", "schema-only"]
    finished_at: datetime
    dump_version: str
    backstop_version: str
    release: str
    """Version of the application that had the traffic; empty when nobody knew."""
    schema_revision: str
    small_files: Piece
    """A tar of every file of the archive that has no piece of its own, toc.dat among them."""
    members: list[Member]
    globals: Piece | None
    """Roles and tablespaces as SQL, without passwords."""
    tables: list[TableContent]
    sequences: list[SequenceState]
    large_objects_sha256: str
    """Of all of them together; see tasks/database_content.py."""
    content_bytes: int
    """What the archive takes opened."""
    run_id: str
    seconds: float

    @property
    def pieces(self) -> list[Piece]:
        """Every object of the backup but the manifest."""
        members = [piece for member in self.members for piece in member.pieces]
        return [self.small_files, *members, *([self.globals] if self.globals else [])]

    @property
    def stored_bytes(self) -> int:
        return sum(piece.size for piece in self.pieces)

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)


class Proof(BaseModel):
    """How a verification of a backup went; kept beside its manifest."""

    backup: str
    manifest_sha256: str
    kind: Literal["cheap", "full"]
    passed: bool
    findings: list[str]
    verified_at: datetime
    server_version: int | None = None
    """Of the server that it was restored into."""
    assertions: list[str] = []
    """Names of the environment's assertions that held."""
    run_id: str
    seconds: float


def new_id(taken_at: datetime, run_id: str) -> str:
    digest = hashlib.sha256(run_id.encode()).hexdigest()[:8]
    return f"{taken_at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{digest}"
