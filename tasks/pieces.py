"""A backup's files in the store: sealed, in pieces that no store finds too large, each with its digest."""

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType

from blocks.errors import BackupIsBad
from blocks.manifest import Piece
from blocks.stores.interface import Store, Writer

PIECE_BYTES = 32 << 30
"""S3 takes 10,000 parts of an object, and a part stands in memory."""


class PieceWriter(AbstractContextManager["PieceWriter"]):
    """Writes `NAME`, and what does not fit into it into `NAME.1`, `NAME.2` …"""

    def __init__(self, store: Store, folder: str, name: str) -> None:
        self._store = store
        self._folder = folder
        self._name = name
        self._open = ExitStack()
        self._writer: Writer | None = None
        self._size = 0
        self._digest = hashlib.sha256()
        self.pieces: list[Piece] = []

    def write(self, chunk: bytes) -> int:
        if self._writer is None or self._size >= PIECE_BYTES:
            self._finish_piece()
            self._writer = self._begin_piece()
        self._size += len(chunk)
        self._digest.update(chunk)
        return self._writer.write(chunk)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish_piece()
        else:
            self._open.__exit__(kind, error, trace)

    def _begin_piece(self) -> Writer:
        number = len(self.pieces)
        self._piece = f"{self._name}.{number}" if number else self._name
        self._size, self._digest = 0, hashlib.sha256()
        return self._open.enter_context(self._store.writing(f"{self._folder}/{self._piece}"))

    def _finish_piece(self) -> None:
        if self._writer is None:
            return
        self._open.close()
        self._writer = None
        self.pieces.append(Piece(name=self._piece, size=self._size, sha256=self._digest.hexdigest()))


def read_pieces(store: Store, folder: str, pieces: list[Piece]) -> Iterator[bytes]:
    """The stored bytes of all pieces, one after the other. Raises BackupIsBad for any that is not as it was written."""
    for piece in pieces:
        size, digest = 0, hashlib.sha256()
        for chunk in store.reading(f"{folder}/{piece.name}"):
            size += len(chunk)
            digest.update(chunk)
            yield chunk
        if size != piece.size:
            raise BackupIsBad(f"{piece.name} has {size} bytes; it was written with {piece.size}.")
        if digest.hexdigest() != piece.sha256:
            raise BackupIsBad(f"{piece.name} is not what was written: its digest differs.")
