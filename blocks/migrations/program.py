"""A migration tool's own command, run in the checkout: bounded in time, ended with its parent, without secrets."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, quote_plus

from blocks.errors import Refused
from blocks.migrations.interface import Limits, Workspace
from blocks.postgres.child import read_end, running
from blocks.postgres.connection import application_name, connect, read_conninfo
from blocks.postgres.scratch import scratch_folder
from blocks.surroundings import BARE

LOOK_SECONDS = 120
_OUTPUT_BYTES = 1_000_000
_SHOWN_CHARACTERS = 700
_NOTICES_ITS_CLIENT_SINCE = 140_000
_OF_LOCKS = ("55P03", "LockNotAvailable", "canceling statement due to lock timeout")


class Answer(NamedTuple):
    code: int | None
    """None: it was ended because its time was over."""
    output: str
    errors: str
    url: str

    @property
    def text(self) -> str:
        return f"{self.output}\n{self.errors}"

    @property
    def is_lock_timeout(self) -> bool:
        return any(sign in self.text for sign in _OF_LOCKS)

    def reason(self) -> str:
        """What it complained of, shortened, without the database's password."""
        if self.code is None:
            return "it did not end in time, and was ended"
        lines = [" ".join(line.split()) for line in self.text.splitlines()]
        errors = [line for line in lines if "error" in line.lower()] or [line for line in lines if line]
        shown = without_secrets(" | ".join(dict.fromkeys(errors)), self.url)
        return shown if len(shown) <= _SHOWN_CHARACTERS else f"…{shown[-_SHOWN_CHARACTERS:]}"


def server_options(workspace: Workspace, limits: Limits | None) -> str:
    """The server's settings for the tool's sessions, as PGOPTIONS takes them. Raises Unreachable.

    A server that looks after its client ends a statement within a second of the tool's death.
    """
    with connect(workspace.url, workspace.purpose) as connection:
        settings = {}
        if connection.info.server_version >= _NOTICES_ITS_CLIENT_SINCE:
            settings["client_connection_check_interval"] = 1000
    if limits:
        settings["lock_timeout"] = int(limits.lock_seconds * 1000)
        settings["statement_timeout"] = int(limits.statement_seconds * 1000)
    own = read_conninfo(workspace.url).get("options", "")
    return " ".join([*([own] if own else []), *(f"-c {name}={value}" for name, value in settings.items())])


def database_variables(workspace: Workspace, database_variable: str, options: str) -> dict[str, str]:
    return {
        database_variable: workspace.url,
        "PGOPTIONS": options,
        "PGAPPNAME": application_name(workspace.purpose),
        "PGCONNECT_TIMEOUT": "10",
    }


def run_program(
    command: Sequence[str], folder: Path, variables: Mapping[str, str], url: str, seconds: float = LOOK_SECONDS
) -> Answer:
    """Raises Refused when the program or the folder is not there."""
    with scratch_folder("migration") as home, tempfile.TemporaryFile() as output:
        environment = {**BARE, "PATH": program_path(), "HOME": str(home), "TMPDIR": str(home), **variables}
        check_program(command, folder)
        with running(command, environment, output=output, folder=str(folder)) as child:
            try:
                code: int | None = child.process.wait(seconds)
            except subprocess.TimeoutExpired:
                code = None
            return Answer(code, read_end(output, _OUTPUT_BYTES), child.read_errors(_OUTPUT_BYTES), url)


def check_program(command: Sequence[str], folder: Path) -> None:
    if not folder.is_dir():
        raise Refused(f"The checkout has no folder {folder.name}.", "Look at the tool's `folder`. Nothing was changed.")
    program = str(folder / command[0]) if "/" in command[0] else command[0]
    if shutil.which(program, path=program_path()) is None:
        raise Refused(
            f"The program {command[0]} is not there.", "Install it where the worker runs. Nothing was changed."
        )


def without_secrets(text: str, url: str) -> str:
    """The text, the URL and its password struck out however they are written."""
    password = read_conninfo(url).get("password", "")
    spellings = {url, password, quote(password), quote(password, safe=""), quote_plus(password), repr(password)[1:-1]}
    for spelling in sorted(spellings, key=len, reverse=True):
        if spelling:
            text = text.replace(spelling, "…")
    return text


def program_path() -> str:
    """As the worker's, and last the programs that came with Backstop."""
    return os.pathsep.join([os.environ.get("PATH", BARE["PATH"]), str(Path(sys.executable).parent)])
