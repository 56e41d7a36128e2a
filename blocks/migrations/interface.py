"""What every migration tool can be asked to do. One class a file implements it.

What each operation is at a tool is written in docs/migration-tools.md. The contract that
all of them pass is tests/blocks/migrations/contract.py.
"""

from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, NamedTuple

from pydantic import BaseModel, Field

from blocks.errors import BackstopError, BadParameter, Refused
from blocks.part import Part


class Workspace(NamedTuple):
    """A checkout of the release, and the database that its migrations are for: live, or a throw-away copy."""

    folder: Path
    url: str
    purpose: str = "migration"
    """Every session of the tool is called `backstop PURPOSE` on the server; for a run, its id."""


class Limits(BaseModel):
    """How long a statement may wait for a lock, and take in all. They are set on the server's side."""

    lock_seconds: float = Field(5, gt=0, le=3600)
    statement_seconds: float = Field(600, gt=0, le=86_400)


class Migration(BaseModel):
    id: str
    title: str
    reversible: bool
    """Whether there is a way down. Only its rehearsal proves that it leads back."""


class MigrationStatus(BaseModel):
    applied: list[str]
    """Ids, oldest first."""
    pending: list[Migration]
    """In the order in which they would be applied; a failed one is among them."""
    failed: str | None = None
    """Begun and neither finished nor undone, as far as the tool keeps record of that."""

    @property
    def revision(self) -> str:
        """What `revert` takes to come back here; empty before the first migration."""
        return self.applied[-1] if self.applied else ""


class MigrationFailed(BackstopError):
    """A migration, or its way down, did not succeed."""

    hint = "Read the tool's status and the schema: what was not in a transaction may have been applied."

    def __init__(self, message: str, hint: str = "", migration: str | None = None, is_lock_timeout: bool = False):
        super().__init__(message, hint)
        self.migration = migration
        self.is_lock_timeout = is_lock_timeout

    def __reduce__(self) -> tuple[object, ...]:
        return (MigrationFailed, (self.message, self.hint, self.migration, self.is_lock_timeout))


class MigrationTool(Part):
    """Raises Unreachable when the database does not answer, Refused for what the tool cannot do.

    Nothing here retries, waits or logs. No password stands on a command line or in an error.
    """

    record_table: ClassVar[str] = ""
    """Where the tool keeps what was applied, in whatever schema: no part of what the migrations make."""

    patience_seconds: float = Field(
        60, ge=0, le=86_400, description="Seconds to wait, without queueing, for transactions on a table to be locked."
    )
    lock_seconds: float = Field(
        2, gt=0, le=3600, description="Seconds that a statement may wait for a lock: others wait behind it."
    )
    lock_attempts: int = Field(3, ge=1, le=20, description="How often it is tried when a lock was not to be had.")
    statement_seconds: float = Field(600, gt=0, le=86_400, description="Seconds that one statement may take.")
    blocking_seconds: float = Field(
        2, ge=0, le=3600, description="A table locked for longer in the rehearsal stops writes for the migration."
    )

    @property
    def limits(self) -> Limits:
        return Limits(lock_seconds=self.lock_seconds, statement_seconds=self.statement_seconds)

    def prepare(self, workspace: Workspace) -> None:
        """Make a bare checkout ready to run the tool: its packages. Raises Refused when that fails."""
        del workspace

    @abstractmethod
    def read_status(self, workspace: Workspace) -> MigrationStatus:
        """What the database has of what the checkout knows. Changes nothing.

        Raises Refused when the tool cannot say it.
        """

    @abstractmethod
    def read_sql(self, workspace: Workspace, migrations: list[str]) -> dict[str, str] | None:
        """Id → the statements that applying it would run; None where the tool cannot show them."""

    @abstractmethod
    def apply(self, workspace: Workspace, limits: Limits) -> None:
        """Apply all that is pending, oldest first; without any it changes nothing. Raises MigrationFailed."""

    @abstractmethod
    def revert(self, workspace: Workspace, to: str, limits: Limits) -> None:
        """Take back what was applied after the revision `to`, newest first; empty: all of it.

        Raises MigrationFailed, or Refused when `to` is not applied or there is no way down.
        """

    @abstractmethod
    def mark_rolled_back(self, workspace: Workspace, migration: str) -> None:
        """Strike a migration that was undone by hand from the tool's record; the schema stays as it is.

        It is pending afterwards, and the next `apply` applies it again. Raises Refused for any but
        the failed one or, where the tool allows it, the newest.
        """


def check_applied(status: MigrationStatus, to: str) -> None:
    """Raises BadParameter for a revision that one cannot go back to."""
    if to and to not in status.applied:
        allowed = f"an applied migration ({', '.join(status.applied[-5:]) or 'there is none'}), or empty for all"
        raise BadParameter("to", to, f"{allowed}. Nothing was changed")


def check_newest(status: MigrationStatus, migration: str) -> None:
    """Raises Refused for a migration that is neither the failed one nor the newest that is applied."""
    if migration not in {status.failed, status.revision} - {None, ""}:
        raise Refused(
            f"{migration} is neither the newest applied migration ({status.revision or 'there is none'})"
            f" nor a failed one ({status.failed or 'there is none'}).",
            "Only that can be marked as rolled back. Nothing was changed.",
        )
