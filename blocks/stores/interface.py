"""Where backups are kept: objects by name, written once. One class a file implements it.

The contract that all of them pass is tests/blocks/stores/contract.py.
"""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from pydantic import BaseModel

from blocks.part import Part


class StoredObject(BaseModel):
    """What the store knows of one object."""

    name: str
    size: int
    """Bytes."""
    modified_at: datetime
    cold: bool = False
    """Whether it was moved to the cheaper storage class."""


class Writer(Protocol):
    def write(self, chunk: bytes) -> int:
        """Takes all of it; blocks while the store is slower than who writes. Returns the length."""


class Store(Part):
    """Every call answers or raises Unreachable within its time limit, its own bounded repetitions included.

    An answer of "no" raises RefusedByStore. Names are relative paths of letters, digits, `.`, `_`,
    `-`, `+`, `=` and `/`; a folder of its own inside the store is the store's business.
    Memory is bounded whatever the size of an object. Nothing here logs.
    """

    @abstractmethod
    def writing(self, name: str, only_if_absent: bool = False) -> AbstractContextManager[Writer]:
        """Write one object. Nobody sees it before the block ended well; then it is durable, whole.

        An exception in the block leaves nothing behind that `read_objects` would show.
        With `only_if_absent` an object that exists is left as it is, also when two write at
        the same moment: AlreadyStored.
        """

    @abstractmethod
    def reading(self, name: str) -> Iterator[bytes]:
        """The content in chunks, from beginning to end; a connection that was lost is taken up again.

        Raises NotStored. What is read is not checked against a digest: whoever reads knows it.
        """

    @abstractmethod
    def read_objects(self, prefix: str = "") -> Iterator[StoredObject]:
        """Every whole object whose name begins with `prefix`, sorted by name."""

    @abstractmethod
    def read_object(self, name: str) -> StoredObject | None:
        """One object; None when there is none."""

    @abstractmethod
    def read_hold(self, name: str) -> str:
        """Why the object may not be deleted now (legal hold, retention); empty when it may."""

    @abstractmethod
    def delete_object(self, name: str) -> None:
        """Repeating it changes nothing. Raises RefusedByStore for an object that is held."""

    @abstractmethod
    def move_to_cold(self, name: str) -> bool:
        """Move to the cheaper storage class; False where the store has none. Repeating it changes nothing."""

    @abstractmethod
    def read_free_bytes(self) -> int | None:
        """None where that is the vendor's business."""

    @abstractmethod
    def abort_unfinished(self, prefix: str, begun_before: datetime) -> list[str]:
        """Give up what was begun and never finished; returns the names, sorted."""
