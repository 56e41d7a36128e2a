"""What the tools that are programs have in common: where they run, with what, and how an answer is judged."""

from abc import abstractmethod
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from pydantic import AfterValidator, Field

from blocks.errors import Refused
from blocks.migrations.interface import Limits, MigrationFailed, MigrationTool, Workspace
from blocks.migrations.program import LOOK_SECONDS, Answer, database_variables, run_program, server_options
from blocks.postgres.connection import application_name, read_conninfo
from blocks.reference import resolve

Command = list[str]


def _must_stay_inside(folder: str) -> str:
    if Path(folder).is_absolute() or ".." in Path(folder).parts:
        raise ValueError("must be a folder inside the checkout, such as backend")
    return folder


Inside = Annotated[str, AfterValidator(_must_stay_inside)]


class CommandLineTool(MigrationTool):
    """A program that is started in the checkout and finds the database's URL in a variable."""

    folder: Inside = Field(".", description="Folder of the checkout in which the commands run.")
    preparation: Command = Field(
        default_factory=list, description="Command that makes a bare checkout ready, such as npm ci; empty: none."
    )
    database_variable: str = Field(
        "DATABASE_URL", pattern=r"^[A-Za-z_]\w*$", description="Variable in which the tool finds the connection string."
    )
    limits_in_url: bool = Field(
        False, description="Put the time limits into the URL as well, for a tool that does not read PGOPTIONS."
    )
    variables: dict[str, str] = Field(
        default_factory=dict, description="Further variables for the commands; values may be references, ${NAME}."
    )
    timeout: int = Field(3600, ge=1, le=86_400, description="Seconds that applying or reverting may take.")

    @abstractmethod
    def _find_failed(self, answer: Answer, workspace: Workspace) -> str | None:
        """The migration that failed, when the tool's words tell it."""

    def prepare(self, workspace: Workspace) -> None:
        if self.preparation:
            variables = {name: resolve(value) for name, value in self.variables.items()}
            answer = run_program(self.preparation, self._place(workspace), variables, workspace.url, self.timeout)
            if answer.code != 0:
                raise Refused(f"The checkout could not be made ready: {answer.reason()}.")

    def _look(self, workspace: Workspace, *command: str) -> Answer:
        """Raises Refused when the command fails."""
        answer = self._run(workspace, command, LOOK_SECONDS)
        if answer.code != 0:
            raise Refused(f"`{' '.join(command)}` cannot say how things stand: {answer.reason()}.")
        return answer

    def _change(self, workspace: Workspace, limits: Limits, *command: str) -> Answer:
        """Raises MigrationFailed when the command fails."""
        answer = self._run(workspace, command, self.timeout, limits)
        if answer.code != 0:
            raise MigrationFailed(
                f"`{' '.join(command)}` failed: {answer.reason()}.",
                migration=self._find_failed(answer, workspace),
                is_lock_timeout=answer.is_lock_timeout,
            )
        return answer

    def _run(
        self, workspace: Workspace, command: tuple[str, ...], seconds: float, limits: Limits | None = None
    ) -> Answer:
        options = server_options(workspace, limits)
        if self.limits_in_url or "options" in read_conninfo(workspace.url):  # libpq then ignores PGOPTIONS
            workspace = workspace._replace(url=_with_options(workspace, options))
        variables = {
            **{name: resolve(value) for name, value in self.variables.items()},
            **database_variables(workspace, self.database_variable, options),
        }
        return run_program(command, self._place(workspace), variables, workspace.url, seconds)

    def _place(self, workspace: Workspace) -> Path:
        return workspace.folder / self.folder


def _with_options(workspace: Workspace, options: str) -> str:
    """The URL, with the server's settings in it."""
    parts = urlsplit(workspace.url)
    if parts.scheme not in ("postgres", "postgresql"):
        raise Refused("The tool needs a connection URL: postgresql://…", "Nothing was changed.")
    query = dict(parse_qsl(parts.query)) | {
        "options": options,
        "application_name": application_name(workspace.purpose),
    }
    return urlunsplit(parts._replace(query=urlencode(query, quote_via=quote)))
