"""Backups in a folder: a disk, or a network file system that is mounted."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from pydantic import Field

from blocks.errors import AlreadyStored, BackstopError, NotStored, RefusedByStore, Unreachable
from blocks.reference import resolve
from blocks.stores.draft import Draft, find_drafts, find_names, make_folders, sync_folder
from blocks.stores.interface import Store, StoredObject, Writer
from blocks.stores.names import check_name, check_prefix, is_name

_CHUNK = 1024 * 1024
_REFUSALS = {
    errno.ENOSPC: "The store is full",
    errno.EDQUOT: "The store is full",
    errno.EFBIG: "The store is full: no file may be so large",
    errno.EACCES: "The store may not be used by this user",
    errno.EPERM: "The store does not allow it",
    errno.EROFS: "The store is read-only",
    errno.EOPNOTSUPP: "The store's file system cannot do it",
    errno.ENOTDIR: "A part of the name is an object itself",
    errno.EISDIR: "The name is the beginning of another object's name",
    errno.ENOTEMPTY: "The name is the beginning of another object's name",
}


class DirectoryStore(Store):
    """Backups in a folder that exists.

    It is never made: behind a mount that is missing, that would fill the wrong disk. A name
    cannot be an object and the beginning of another one (`a` and `a/b`). A network file
    system that hangs, hangs who calls: the operating system offers no time limit.
    """

    _block_type_name = "Directory store"
    _block_type_slug = "directory-store"
    _description = "Backups in a folder: a disk, or a network file system that is mounted."

    folder: str = Field(description="Absolute path of a folder that exists; may be a reference, ${NAME}.")

    @contextmanager
    def writing(self, name: str, only_if_absent: bool = False) -> Iterator[Writer]:
        target = self._path(name)
        if only_if_absent and self.read_object(name):
            raise _already(name)
        with self._translated():
            make_folders(target.parent, self._root())
            draft = Draft(target)
        try:
            yield _TranslatedDraft(draft, self)
            with self._translated():
                self._publish(draft, name, only_if_absent)
        finally:
            draft.remove()

    def reading(self, name: str) -> Iterator[bytes]:
        path = self._path(name)
        with self._translated(name), path.open("rb", buffering=0) as content:
            while chunk := content.read(_CHUNK):
                yield chunk

    def read_objects(self, prefix: str = "") -> Iterator[StoredObject]:
        check_prefix(prefix)
        root = self._root()
        with self._translated():
            found = sorted(name for name in find_names(root, prefix) if is_name(name))
        for name in found:
            if stored := self.read_object(name):
                yield stored

    def read_object(self, name: str) -> StoredObject | None:
        path = self._path(name)
        with self._translated():
            try:
                known = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            if not path.is_file():
                return None
        return StoredObject(name=name, size=known.st_size, modified_at=datetime.fromtimestamp(known.st_mtime, UTC))

    def read_hold(self, name: str) -> str:
        check_name(name)
        return ""

    def delete_object(self, name: str) -> None:
        path = self._path(name)
        if self.read_object(name) is None:
            return
        with self._translated():
            path.unlink(missing_ok=True)
            sync_folder(path.parent)

    def move_to_cold(self, name: str) -> bool:
        if self.read_object(name) is None:
            raise _absent(name)
        return False

    def read_free_bytes(self) -> int | None:
        with self._translated():
            return shutil.disk_usage(self._root()).free

    def abort_unfinished(self, prefix: str, begun_before: datetime) -> list[str]:
        """A draft that grew since then is somebody's work and stays."""
        check_prefix(prefix)
        given_up = []
        with self._translated():
            for draft, name in find_drafts(self._root()):
                with suppress(FileNotFoundError):
                    if name.startswith(prefix) and draft.stat().st_mtime < begun_before.timestamp():
                        draft.unlink()
                        given_up.append(name)
        return sorted(given_up)

    def _publish(self, draft: Draft, name: str, only_if_absent: bool) -> None:
        try:
            draft.publish(only_if_absent)
        except FileExistsError:
            raise _already(name) from None

    def _root(self) -> Path:
        root = Path(resolve(self.folder))
        if not root.is_absolute():
            raise RefusedByStore(
                f"The store's folder {self.folder} is not an absolute path.", "Write it from the root."
            )
        if not root.is_dir():
            raise Unreachable(
                f"The store's folder {self.folder} is not there.",
                "Mount it, or make it, owned by the worker's user and mode 700.",
            )
        return root

    def _path(self, name: str) -> Path:
        return self._root() / check_name(name)

    @contextmanager
    def _translated(self, name: str = "") -> Iterator[None]:
        """Only around what this file does itself, never around a caller's block, except that of `reading`."""
        try:
            yield
        except OSError as error:
            raise self._translate(error, name) from None

    def _translate(self, error: OSError, name: str = "") -> BackstopError:
        if name and isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
            return _absent(name)
        where = f"the folder {self.folder}"
        if refusal := _REFUSALS.get(error.errno or 0):
            return RefusedByStore(f"{refusal} ({where}).", "The name is as it was. Make room, or change that.")
        return Unreachable(f"The store failed: {error.strerror} ({where}).", "Look at the disk or the mount.")


class _TranslatedDraft:
    def __init__(self, draft: Draft, store: DirectoryStore) -> None:
        self._draft = draft
        self._store = store

    def write(self, chunk: bytes) -> int:
        with self._store._translated():
            self._draft.write(chunk)
        return len(chunk)


def _already(name: str) -> AlreadyStored:
    return AlreadyStored(f"{name} is stored already.", "It was left as it is.")


def _absent(name: str) -> NotStored:
    return NotStored(f"{name} is not stored.", "Look at what is: the name may be wrong, or it was deleted.")
