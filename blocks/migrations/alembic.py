"""Alembic: SQLAlchemy's migrations, through its command line."""

import ast
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from pydantic import Field

from blocks.errors import Refused
from blocks.migrations.command_line import Command, CommandLineTool
from blocks.migrations.interface import (
    Limits,
    Migration,
    MigrationStatus,
    Workspace,
    check_applied,
    check_newest,
)
from blocks.migrations.program import LOOK_SECONDS, Answer

_STEP = re.compile(r"^-- Running upgrade .*?-> (\S+)$", re.MULTILINE)
_UNKNOWN = re.compile(r"Can't locate revision identified by '([^']+)'")
_IN_FILE = re.compile(r'File "([^"]+)", line \d+, in (?:upgrade|downgrade)\b')


class _Revision(Migration):
    parents: list[str]
    path: Path
    is_current: bool


class AlembicMigrations(CommandLineTool):
    """Alembic's migrations, with their downgrades.

    Its record is one line, written with the last statement: of a migration that died half-way it knows nothing.
    """

    record_table = "alembic_version"

    _block_type_name = "Alembic migrations"
    _block_type_slug = "alembic-migrations"
    _description = "Alembic: migrations of a Python service, with their downgrades."

    tool: Literal["alembic"] = Field(
        "alembic", description="Which tool it is: a saved block is read again as what it was."
    )
    command: Command = Field(default_factory=lambda: ["alembic"], min_length=1, description="How it is started.")

    def read_status(self, workspace: Workspace) -> MigrationStatus:
        return _status(self._read_revisions(workspace))

    def read_sql(self, workspace: Workspace, migrations: list[str]) -> dict[str, str] | None:
        heads = _heads(self._read_revisions(workspace))
        start = heads[0] if len(heads) == 1 else "base"
        answer = self._run(workspace, (*self.command, "upgrade", f"{start}:heads", "--sql"), LOOK_SECONDS)
        if answer.code != 0:
            return None  # a migration that asks the database something cannot be shown without one
        parts = _STEP.split(answer.output)
        shown = dict(zip(parts[1::2], parts[2::2], strict=True))
        return {one: shown[one].strip() for one in migrations if one in shown}

    def apply(self, workspace: Workspace, limits: Limits) -> None:
        self._change(workspace, limits, *self.command, "upgrade", "heads")

    def revert(self, workspace: Workspace, to: str, limits: Limits) -> None:
        revisions = self._read_revisions(workspace)
        check_applied(_status(revisions), to)
        _require_one_branch(revisions)
        if _status(revisions).revision != to:
            self._change(workspace, limits, *self.command, "downgrade", to or "base")

    def mark_rolled_back(self, workspace: Workspace, migration: str) -> None:
        revisions = self._read_revisions(workspace)
        check_newest(_status(revisions), migration)
        _require_one_branch(revisions)
        parents = revisions[migration].parents or ["base"]
        self._change(workspace, Limits(), *self.command, "stamp", "--purge", *parents)

    def _read_revisions(self, workspace: Workspace) -> dict[str, _Revision]:
        """All that the checkout has, parents first. Raises Refused when the database is at one that it does not have.

        Not `history --indicate-current`: that says nothing of a revision that it does not know.
        """
        with ThreadPoolExecutor() as both:  # each takes a second to start
            current = both.submit(self._look, workspace, *self.command, "current")
            shown = both.submit(self._look, workspace, *self.command, "history", "--verbose")
        at = {line.split()[0] for line in current.result().output.splitlines() if line.strip()}
        found = [_revision(entry, at) for entry in re.split(r"^Rev: ", shown.result().output, flags=re.MULTILINE)[1:]]
        return {one.id: one for one in reversed(found)}

    def _look(self, workspace: Workspace, *command: str) -> Answer:
        try:
            return super()._look(workspace, *command)
        except Refused as refused:
            if unknown := _UNKNOWN.search(refused.message):
                raise Refused(
                    f"The database is at revision {unknown[1]}, which this release does not have: it is older.",
                    "Nothing was changed. roll-back-deploy returns to an older release and leaves the schema as it is;"
                    " roll-back-migration takes the schema back first.",
                ) from None
            raise

    def _find_failed(self, answer: Answer, workspace: Workspace) -> str | None:
        files = _IN_FILE.findall(answer.errors)
        revisions = self._read_revisions(workspace).values() if files else []
        return next((one.id for one in revisions if one.path.name == Path(files[-1]).name), None)


def _revision(entry: str, current: set[str]) -> _Revision:
    head, _, message = entry.partition("\n\n")
    facts = dict(line.split(": ", 1) for line in f"Rev: {head}".splitlines() if ": " in line)
    id_, path = facts["Rev"].split()[0], Path(facts["Path"])
    before = [facts[name] for name in ("Parent", "Merges", "Also depends on") if name in facts]
    parents = [one for one in re.split(r",\s*", ", ".join(before)) if one != "<base>"]
    title = message.strip().partition("\n")[0] or id_
    return _Revision(
        id=id_, title=title, reversible=_has_downgrade(path), parents=parents, path=path, is_current=id_ in current
    )


def _status(revisions: dict[str, _Revision]) -> MigrationStatus:
    applied = set(_heads(revisions))
    for one in reversed(revisions.values()):  # children first
        if one.id in applied:
            applied.update(one.parents)
    return MigrationStatus(
        applied=[one for one in revisions if one in applied],
        pending=[
            Migration(id=one.id, title=one.title, reversible=one.reversible)
            for one in revisions.values()
            if one.id not in applied
        ],
    )


def _heads(revisions: dict[str, _Revision]) -> list[str]:
    """What the database says it is at."""
    return [one.id for one in revisions.values() if one.is_current]


def _require_one_branch(revisions: dict[str, _Revision]) -> None:
    if len(heads := _heads(revisions)) > 1:
        raise Refused(f"The database is on several branches ({', '.join(heads)}): which to leave is not clear.")


def _has_downgrade(path: Path) -> bool:
    """False when it is missing, empty, or does nothing but raise."""
    try:
        functions = [one for one in ast.parse(path.read_text()).body if isinstance(one, ast.FunctionDef)]
    except (OSError, SyntaxError, ValueError):
        return False
    bodies = [one.body for one in functions if one.name == "downgrade"]
    idle = (ast.Pass, ast.Raise)
    return any(
        not isinstance(line, idle) and not (isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant))
        for body in bodies
        for line in body
    )
