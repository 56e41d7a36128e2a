"""The state folder: everything that the stack keeps, readable by its user alone."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from blocks.errors import Refused

CHECKOUT = Path(__file__).resolve().parents[2]
_MARKER = "backstop-state"
"""Only a folder with this file in it is ever deleted."""


@dataclass(frozen=True)
class State:
    folder: Path

    @classmethod
    def of_surroundings(cls) -> "State":
        """The folder that BACKSTOP_STATE names, else `.backstop` in the checkout."""
        return cls((CHECKOUT / os.environ.get("BACKSTOP_STATE", ".backstop")).resolve())

    @property
    def exists(self) -> bool:
        return (self.folder / _MARKER).is_file()

    @property
    def identity(self) -> str:
        """Told apart from every other state folder, also from an earlier one at the same path."""
        return (self.folder / _MARKER).read_text()

    def subfolder(self, *names: str) -> Path:
        """A private folder inside, made when it is not there."""
        folder = self.folder
        for name in names:
            folder /= name
            folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def log(self, component: str) -> Path:
        return self.folder / "logs" / f"{component}.log"

    def create(self) -> None:
        """Make the folder and mark it. Refuses a folder that holds something else."""
        if not self.exists and self.folder.exists() and any(self.folder.iterdir()):
            raise Refused(
                f"{self.folder} holds something that Backstop did not put there.",
                "Name another folder in BACKSTOP_STATE. Nothing was changed.",
            )
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        if not self.exists:
            write_private(self.folder / _MARKER, token_hex(6))

    def purge(self) -> None:
        """Delete the folder, the marker last: a purge cut short can be repeated."""
        if not self.exists:
            return
        for entry in self.folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != _MARKER:
                entry.unlink()
        shutil.rmtree(self.folder)

    @contextmanager
    def locked(self, waiting: Callable[[], None]) -> Iterator[None]:
        """Hold the folder against every other `up` and `down`; `waiting` is called once if one has it."""
        while True:
            self.create()
            with open(self.folder / "lock", "w", opener=private) as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    waiting()
                    fcntl.flock(file, fcntl.LOCK_EX)
                if self._is_still_there(file.fileno()):
                    yield
                    return

    def _is_still_there(self, lock: int) -> bool:
        # The one that held it may have purged the folder, and with it this lock's file.
        try:
            return os.fstat(lock).st_ino == (self.folder / "lock").stat().st_ino
        except FileNotFoundError:
            return False


def private(path: str, flags: int) -> int:
    """An `opener` for files that only their owner may read."""
    return os.open(path, flags, 0o600)


def write_private(path: Path, text: str) -> None:
    """Replace the file as a whole: a reader sees the old text or the new one."""
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    with open(partial, "x", opener=private) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
