"""What is stored is compressed with zstd and, where there are recipients, encrypted with age.

Both are standard formats: `age --decrypt | zstd --decompress` gives the content back without Backstop.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import pyrage
import zstandard

from blocks.errors import BackupIsBad, Refused
from blocks.stores.interface import Writer

CHUNK_BYTES = 1 << 20
COMPRESSION = ".zst"
ENCRYPTION = ".age"


class Seal(NamedTuple):
    """How to seal."""

    recipients: tuple[str, ...] = ()
    """Public age keys (age1…) or ssh ones; none: not encrypted."""
    level: int = 1

    @property
    def suffix(self) -> str:
        return COMPRESSION + (ENCRYPTION if self.recipients else "")

    def write(self, chunks: Iterable[bytes], writer: Writer) -> None:
        """Seal the chunks into the writer. Memory is bounded whatever their number."""
        compressed = _compressed(chunks, self.level)
        if self.recipients:
            recipients = [read_recipient(recipient) for recipient in self.recipients]
            source, target = _Reader(compressed), _Pusher(writer.write)
            with _own_errors_of(source, target):
                pyrage.encrypt_io(source, target, recipients)
        else:
            for chunk in compressed:
                writer.write(chunk)


def read_recipient(text: str) -> Any:
    """The public key. Raises ValueError for what is none."""
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError:
        try:
            return pyrage.ssh.Recipient.from_str(text)
        except pyrage.RecipientError:
            raise ValueError("must be a public key of age (age1…) or ssh") from None


def read_identity(text: str) -> Any:
    """The private key, of age or ssh; comments and empty lines around it are left out. Raises Refused."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    with suppress(pyrage.IdentityError, IndexError):
        return pyrage.x25519.Identity.from_str(lines[0].strip())
    with suppress(pyrage.IdentityError):
        return pyrage.ssh.Identity.from_buffer(text.encode())
    raise Refused("The identity that should decrypt backups is no key of age or ssh.")


def unseal(chunks: Iterable[bytes], name: str, identity: str | None, write: Callable[[bytes], object]) -> None:
    """Open an object, its name telling how it was sealed, into `write`. All chunks are read when it is whole.

    Raises BackupIsBad for content that is damaged, cut off or for another key, Refused without
    an identity. What was written until then must not be used.
    """
    source = _Reader(iter(chunks))
    inner = name.removesuffix(ENCRYPTION)
    decompressing = _Decompressing(write) if inner.endswith(COMPRESSION) else None
    push = decompressing.write if decompressing else write
    try:
        if name.endswith(ENCRYPTION):
            if identity is None:
                raise Refused(f"{name} is encrypted, and the environment names no identity to open it with.")
            target = _Pusher(push)
            with _own_errors_of(source, target):
                pyrage.decrypt_io(source, target, [read_identity(identity)])
        else:
            for chunk in iter(lambda: source.read(CHUNK_BYTES), b""):
                push(chunk)
        while source.read(CHUNK_BYTES):
            pass  # what stands behind the end belongs to the object's digest
        if decompressing:
            decompressing.finish()
    except (pyrage.DecryptError, _NotDecrypted, zstandard.ZstdError, EOFError) as error:
        raise BackupIsBad(f"{name} cannot be opened ({error}): it is damaged, or was made for another key.") from None


class Unsealing:
    """The opened object as a file to read from, while it is being opened in a thread of its own.

    `with` it: what opening raised is raised at the end.
    """

    def __init__(self, chunks: Iterable[bytes], name: str, identity: str | None) -> None:
        reading, writing = os.pipe()
        self.file = open(reading, "rb")  # noqa: SIM115 (closed in __exit__)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._open, args=(chunks, name, identity, writing), daemon=True)
        self._thread.start()

    def __enter__(self) -> "Unsealing":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            while self.file.read(CHUNK_BYTES):
                pass
        self.file.close()
        self._thread.join()
        if self._failure and (kind is None or not isinstance(self._failure, BrokenPipeError)):
            raise self._failure

    def _open(self, chunks: Iterable[bytes], name: str, identity: str | None, writing: int) -> None:
        try:
            with open(writing, "wb", buffering=0) as pipe:
                unseal(chunks, name, identity, lambda chunk: _write_all(pipe.fileno(), chunk))
        except BaseException as error:
            self._failure = error


def _write_all(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]


def _compressed(chunks: Iterable[bytes], level: int) -> Iterator[bytes]:
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=True).compressobj()
    for chunk in chunks:
        compressed = compressor.compress(chunk)
        if compressed:
            yield compressed
    yield compressor.flush()


class _NotDecrypted(Exception):
    """What pyrage says in the middle of the content, as an OSError."""


@contextmanager
def _own_errors_of(*parts: "_Reader | _Pusher") -> Iterator[None]:
    """pyrage raises errors of its own with the text of whatever its reader or writer raised: those are wanted."""
    try:
        yield
    except (pyrage.EncryptError, pyrage.DecryptError, OSError) as error:
        for part in parts:
            if part.failure:
                raise part.failure from None
        raise _NotDecrypted(str(error)) from None


class _Reader:
    """Chunks as a file object."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")
        self.failure: BaseException | None = None

    def read(self, size: int) -> bytes:
        try:
            while not self._rest:
                self._rest = memoryview(next(self._chunks))
        except StopIteration:
            return b""
        except BaseException as error:
            self.failure = error
            raise
        taken, self._rest = self._rest[:size], self._rest[size:]
        return bytes(taken)


class _Pusher:
    """A file object to write to."""

    def __init__(self, push: Callable[[bytes], object]) -> None:
        self._push = push
        self.failure: BaseException | None = None

    def write(self, chunk: bytes) -> int:
        if self.failure:  # pyrage tries once more; what follows from the first failure would hide it
            raise self.failure
        try:
            self._push(bytes(chunk))
        except BaseException as error:
            self.failure = error
            raise
        return len(chunk)

    def flush(self) -> None:
        """Asked for by pyrage; what is written is handed on at once."""


class _Decompressing:
    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._object = zstandard.ZstdDecompressor().decompressobj()

    def write(self, chunk: bytes) -> None:
        if self._object.eof:
            raise EOFError("something stands behind its end")
        content = self._object.decompress(chunk)
        if content:
            self._write(content)

    def finish(self) -> None:
        if not self._object.eof:
            raise EOFError("it was cut off")
        if self._object.unused_data:
            raise EOFError("something stands behind its end")
