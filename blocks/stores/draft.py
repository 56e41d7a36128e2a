"""A file that nobody sees before it is whole, and what else a folder of such files needs."""

import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_ENDING = ".draft"


class Draft:
    """The content on its way to `target`, in a hidden file beside it. Raises OSError."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._path = target.with_name(f".{target.name}.{uuid.uuid4().hex}{_ENDING}")
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)

    def write(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def publish(self, only_if_absent: bool) -> None:
        """Durable, then visible, in one step. Raises FileExistsError."""
        os.fsync(self._descriptor)
        if only_if_absent:
            os.link(self._path, self._target)
        else:
            self._path.replace(self._target)
        sync_folder(self._target.parent)

    def remove(self) -> None:
        """What was published stays."""
        with suppress(OSError):
            os.close(self._descriptor)
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def find_drafts(root: Path) -> Iterator[tuple[Path, str]]:
    """Each one with the name that it was meant for."""
    for name in find_names(root):
        folder, _, file = name.rpartition("/")
        if file.startswith(".") and file.endswith(_ENDING):
            meant = file[1 : -len(_ENDING)].rpartition(".")[0]
            yield root / name, f"{folder}/{meant}" if folder else meant


def find_names(root: Path, prefix: str = "") -> Iterator[str]:
    """Of all files in the folder whose path in it begins so, hidden ones too, in no order."""
    top = root / prefix if prefix.endswith("/") else (root / prefix).parent if prefix else root
    for folder, _, files in os.walk(top, onerror=_complain):
        inside = Path(folder).relative_to(root)
        yield from (name for file in files if (name := str(inside / file)).startswith(prefix))


def make_folders(folder: Path, root: Path) -> None:
    """All from below the root down, for the owner alone, durably."""
    if folder == root or folder.is_dir():
        return
    make_folders(folder.parent, root)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _complain(error: OSError) -> None:
    """What vanished while it was walked is no error."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
