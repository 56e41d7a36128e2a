"""Tools that list their migrations, one a line, and go down one migration at a time."""

import re
from abc import abstractmethod
from typing import NamedTuple

from blocks.errors import Refused
from blocks.migrations.command_line import Command, CommandLineTool
from blocks.migrations.interface import (
    Limits,
    Migration,
    MigrationFailed,
    MigrationStatus,
    Workspace,
    check_applied,
    check_newest,
)
from blocks.migrations.program import Answer

_NOT_IN_A_TRANSACTION = "cannot run inside a transaction block"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Steps(NamedTuple):
    show: Command
    apply: Command
    revert: Command
    """Takes back the newest one; empty: there is no way down."""
    revert_outside: Command
    """The same without a transaction, for statements that cannot be in one; empty: the tool sees to that."""
    mark: Command
    """Strikes the newest one from the record only; empty: the tool cannot."""


class Patterns(NamedTuple):
    """Regular expressions for what the tool prints; the first group is the migration's id."""

    applied: str
    pending: str
    failed: str


class StepwiseTool(CommandLineTool):
    @abstractmethod
    def _steps(self) -> Steps: ...

    @abstractmethod
    def _patterns(self) -> Patterns: ...

    def read_status(self, workspace: Workspace) -> MigrationStatus:
        steps, patterns = self._steps(), self._patterns()
        shown = _COLOUR.sub("", self._look(workspace, *steps.show).output)
        pending = re.findall(patterns.pending, shown, re.MULTILINE)
        return MigrationStatus(
            applied=re.findall(patterns.applied, shown, re.MULTILINE),
            pending=[Migration(id=one, title=one, reversible=bool(steps.revert)) for one in pending],
        )

    def read_sql(self, workspace: Workspace, migrations: list[str]) -> dict[str, str] | None:
        del workspace, migrations
        return None

    def apply(self, workspace: Workspace, limits: Limits) -> None:
        self._change(workspace, limits, *self._steps().apply)

    def revert(self, workspace: Workspace, to: str, limits: Limits) -> None:
        status = self.read_status(workspace)
        check_applied(status, to)
        if status.revision != to and not self._steps().revert:
            raise Refused("This tool was given no command for the way down.")
        while status.revision != to:
            self._revert_newest(workspace, limits, status.revision)
            before, status = status, self.read_status(workspace)
            if status.applied != before.applied[:-1]:
                raise MigrationFailed(
                    f"Reverting {before.revision} did not take back that one, or not that one alone.",
                    migration=before.revision,
                )

    def _revert_newest(self, workspace: Workspace, limits: Limits, newest: str) -> None:
        steps = self._steps()
        try:
            self._change(workspace, limits, *steps.revert)
        except MigrationFailed as failed:
            failed.migration = failed.migration or newest
            if not steps.revert_outside or _NOT_IN_A_TRANSACTION not in failed.message:
                raise
            self._change(workspace, limits, *steps.revert_outside)  # the first attempt's transaction was undone

    def mark_rolled_back(self, workspace: Workspace, migration: str) -> None:
        command = self._steps().mark
        if not command:
            raise Refused("This tool was given no command that strikes a migration from its record.")
        check_newest(self.read_status(workspace), migration)
        self._change(workspace, Limits(), *command)

    def _find_failed(self, answer: Answer, workspace: Workspace) -> str | None:
        del workspace
        match = re.search(self._patterns().failed, _COLOUR.sub("", answer.text))
        return match[1] if match else None
