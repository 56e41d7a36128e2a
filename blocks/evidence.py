"""Where reports and audit heads are kept: a folder outside ledger and Prefect.

Written once, never replaced. `BACKSTOP_EVIDENCE` names the folder.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from blocks.reference import resolve


class Evidence:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def from_surroundings(cls) -> "Evidence":
        return cls(Path(resolve("${BACKSTOP_EVIDENCE}")))

    def write_once(self, name: str, content: str) -> None:
        """Durable when it returns. A name that exists keeps its first content."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        with open(os.open(draft, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        _sync_folder(path.parent)

    def read(self, name: str) -> str | None:
        """None when nothing was ever written under this name here."""
        try:
            return (self.folder / name).read_text()
        except FileNotFoundError:
            return None

    def read_all(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """Name and content of everything below a folder such as `audit/`, in the order of their names."""
        for path in sorted((self.folder / prefix).glob("[!.]*")):
            yield str(path.relative_to(self.folder)), path.read_bytes()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
