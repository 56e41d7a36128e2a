"""Prisma Migrate, through its command line and its documented table."""

import re
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

import psycopg
from psycopg import sql
from pydantic import Field

from blocks.errors import Refused
from blocks.migrations.command_line import Command, CommandLineTool, Inside
from blocks.migrations.interface import Limits, Migration, MigrationStatus, Workspace
from blocks.migrations.program import Answer
from blocks.postgres.connection import connect

_FAILED = re.compile(r"Migration name: (\S+)|The `([^`]+)` migration started at .* failed")
_RECORDS = """
SELECT DISTINCT ON (migration_name) migration_name, finished_at IS NOT NULL FROM {}
WHERE rolled_back_at IS NULL ORDER BY migration_name, started_at DESC
"""


class PrismaMigrations(CommandLineTool):
    """Prisma's migrations: there is no way down.

    What is applied is read from its table and its folder, not from `prisma migrate status`: that
    calls a schema up to date when a migration was marked as rolled back, which the next
    `prisma migrate deploy` applies again (github.com/prisma/orm/issues/29601).
    """

    record_table = "_prisma_migrations"

    _block_type_name = "Prisma migrations"
    _block_type_slug = "prisma-migrations"
    _description = "Prisma Migrate: migrations of a Node.js service, without a way down."

    tool: Literal["prisma"] = Field(
        "prisma", description="Which tool it is: a saved block is read again as what it was."
    )
    command: Command = Field(
        default_factory=lambda: ["npx", "--no-install", "prisma"], min_length=1, description="How it is started."
    )
    migrations: Inside = Field("prisma/migrations", description="Folder of the migrations, below `folder`.")
    limits_in_url: Literal[True] = Field(
        True, description="Always: its engine does not read PGOPTIONS, and takes the time limits from the URL."
    )

    def read_status(self, workspace: Workspace) -> MigrationStatus:
        records = self._read_records(workspace)
        applied = [name for name, is_finished in records.items() if is_finished]
        return MigrationStatus(
            applied=applied,
            pending=[
                Migration(id=name, title=name.partition("_")[2].replace("_", " ") or name, reversible=False)
                for name in self._read_names(workspace)
                if name not in applied
            ],
            failed=next((name for name, is_finished in records.items() if not is_finished), None),
        )

    def read_sql(self, workspace: Workspace, migrations: list[str]) -> dict[str, str] | None:
        folder = self._place(workspace) / self.migrations
        known = set(self._read_names(workspace))
        return {name: (folder / name / "migration.sql").read_text() for name in migrations if name in known}

    def apply(self, workspace: Workspace, limits: Limits) -> None:
        self._change(workspace, limits, *self.command, "migrate", "deploy")

    def revert(self, workspace: Workspace, to: str, limits: Limits) -> None:
        del limits
        if self.read_status(workspace).revision != to:
            raise Refused(
                "Prisma has no way down.",
                "Restore the backup, or write a new migration that takes the change back. Nothing was changed.",
            )

    def mark_rolled_back(self, workspace: Workspace, migration: str) -> None:
        failed = self.read_status(workspace).failed
        if migration != failed:
            raise Refused(
                f"{migration} did not fail; Prisma marks only a failed migration as rolled back"
                f" ({failed or 'there is none'}).",
                "Nothing was changed.",
            )
        self._change(workspace, Limits(), *self.command, "migrate", "resolve", "--rolled-back", migration)

    def _read_names(self, workspace: Workspace) -> list[str]:
        folder = self._place(workspace) / self.migrations
        if not folder.is_dir():
            raise Refused(
                f"The checkout has no folder {self.migrations}.", "Look at `migrations`. Nothing was changed."
            )
        return sorted(path.parent.name for path in folder.glob("*/migration.sql"))

    def _read_records(self, workspace: Workspace) -> dict[str, bool]:
        """Name → whether it was finished, in their order; those that were rolled back are left out."""
        schema = dict(parse_qsl(urlsplit(workspace.url).query)).get("schema", "public")
        with connect(workspace.url, workspace.purpose) as connection:
            try:
                rows = connection.execute(
                    sql.SQL(_RECORDS).format(sql.Identifier(schema, "_prisma_migrations"))
                ).fetchall()
            except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
                return {}
        return {str(name): bool(is_finished) for name, is_finished in rows}

    def _find_failed(self, answer: Answer, workspace: Workspace) -> str | None:
        del workspace
        match = _FAILED.search(answer.text)
        return next(group for group in match.groups() if group) if match else None
