"""The plan of a restore of tables, as data: which rows out of which backup, and what is live in their place."""

import hashlib
from typing import Literal

from pydantic import BaseModel

from blocks.manifest import Manifest, TableContent
from blocks.postgres.tables import Table, title_of
from tasks.prerequisite import Prerequisite
from tasks.restore_plan import Loss

Mode = Literal["beside", "merge", "replace"]


class TablePlan(BaseModel):
    """One table: what the backup has of it, and what is live."""

    content: TableContent
    live: Table | None
    """None where there is no such table any more."""
    place: str
    """Its name in the schemas that this run makes."""
    rows_now: int
    is_unchanged: bool
    """Its rows are those of the backup, byte by byte."""

    @property
    def title(self) -> str:
        return title_of(self.content.schema_name, self.content.name)

    @property
    def gone(self) -> list[str]:
        """Columns that the backup has and the live table has not."""
        return [name for name in self.content.columns if self.live is None or name not in self.live.columns]

    @property
    def added(self) -> list[str]:
        """Columns that the live table has and the backup has not."""
        return [name for name in (self.live.columns if self.live else {}) if name not in self.content.columns]

    @property
    def shared(self) -> list[str]:
        return [name for name in self.content.columns if self.live and name in self.live.columns]

    @property
    def key(self) -> list[str]:
        """The live table's primary key, where the backup has all of it."""
        key = self.live.key if self.live else []
        return key if set(key) <= set(self.content.columns) else []

    @property
    def loss(self) -> Loss | None:
        """What `replace` would take away or change."""
        if self.live is None or self.is_unchanged or not self.rows_now:
            return None
        return Loss(table=self.title, rows_now=self.rows_now, rows_then=self.content.rows)


class TableRestorePlan(BaseModel):
    """Everything that the restore follows."""

    environment: str
    database: str
    owner: str
    """Of the database; what this run makes in it belongs to that role."""
    backup: Manifest
    mode: Mode
    tables: list[TablePlan]
    restored: str
    """The schema for the rows of the backup."""
    before: str
    """The schema that keeps what a merge or replacement changes or takes away, as it was."""
    after: str
    """The schema that keeps what it wrote."""
    prerequisites: list[Prerequisite]
    notes: list[str]

    @property
    def losses(self) -> list[Loss]:
        found = (table.loss for table in self.tables) if self.mode == "replace" else ()
        return [loss for loss in found if loss]

    @property
    def fingerprint(self) -> str:
        """Of what is restored where. What would be lost changes as long as somebody writes."""
        live = [(table.live.oid if table.live else 0, table.title) for table in self.tables]
        return hashlib.sha256(f"{self.backup.id} {self.mode} {live}".encode()).hexdigest()[:16]
