"""Dumps that others made, recognised by their content: a name proves nothing.

`pg_dump --format=custom > backup.sql.gz` is in many a runbook, and is neither SQL nor gzip.
"""

import gzip
import re
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple, cast

import zstandard

from blocks.errors import BackupIsBad, Refused
from blocks.postgres.child import running
from blocks.postgres.programs import Programs
from blocks.postgres.restore import RestoreFailed
from blocks.sealing import Unsealing

CHUNK_BYTES = 1 << 20
_HEAD_BYTES = 1024
_TAR_MARK = slice(257, 262)
_ROLE = re.compile(
    rb'^(?:ALTER .* OWNER TO|GRANT .* TO|REVOKE .* FROM) ("(?:[^"]|"")+"|\w+)(?: WITH .*)?;$', re.MULTILINE
)
_ANOTHER_DATABASE = re.compile(rb"^\\c(?:onnect)?\s", re.MULTILINE)
_NOT_BEFORE_17 = b"SET transaction_timeout = 0;\n"

Layer = Literal["age", "gzip", "zstd"]


class ForeignDump(NamedTuple):
    path: Path
    kind: Literal["custom", "tar", "directory", "plain"]
    layers: tuple[Layer, ...]
    """What is wrapped around it, the outermost first."""

    def __str__(self) -> str:
        return " in ".join([f"{self.kind} format", *reversed(self.layers)])


def recognise(path: Path, identity: str | None = None) -> ForeignDump:
    """What it is. Raises Refused for what is no dump, BackupIsBad for one that cannot be opened."""
    if path.is_dir():
        if any((path / name).is_file() for name in ("toc.dat", "toc.dat.gz")):
            return ForeignDump(path, "directory", ())
        raise Refused(f"{path.name} is a folder without toc.dat: pg_dump's directory format has one.")
    layers: tuple[Layer, ...] = ()
    while True:
        head = _read_head(path, layers, identity)
        layer = _layer_of(head)
        if layer is None:
            return ForeignDump(path, _kind_of(path, head), layers)
        layers = (*layers, layer)


@contextmanager
def opened(path: Path, layers: tuple[Layer, ...], identity: str | None = None) -> Iterator[BinaryIO]:
    """The content inside all layers. Raises BackupIsBad when it turns out to be damaged."""
    with ExitStack() as stack:
        stack.enter_context(_damage_translated(path))
        file: BinaryIO = stack.enter_context(path.open("rb"))
        for layer in layers:
            if layer == "age":
                chunks = iter(lambda source=file: source.read(CHUNK_BYTES), b"")  # type: ignore[misc]
                file = stack.enter_context(Unsealing(chunks, f"{path.name}.age", identity)).file
            elif layer == "gzip":
                file = cast(BinaryIO, stack.enter_context(gzip.open(file, "rb")))
            else:
                file = stack.enter_context(zstandard.open(file, "rb"))
        yield file


@contextmanager
def _damage_translated(path: Path) -> Iterator[None]:
    try:
        yield
    except (gzip.BadGzipFile, zlib.error, EOFError, zstandard.ZstdError) as error:
        raise BackupIsBad(f"{path.name} cannot be opened to its end ({error}).") from None


def read_roles(dump: ForeignDump, identity: str | None = None) -> set[str]:
    """Roles that a script names: they have to exist before it runs. Of archives, owners and grants are left out."""
    if dump.kind != "plain":
        return set()
    with opened(dump.path, dump.layers, identity) as file:
        return {_unquoted(name) for lines in _lines(file) for name in _ROLE.findall(lines)} - {"PUBLIC", "CURRENT_USER"}


def restore_foreign(
    dump: ForeignDump, programs: Programs, environment: dict[str, str], identity: str | None = None
) -> None:
    """Into the database of `environment`. Raises RestoreFailed, or Refused for a script that leaves its database."""
    if dump.kind == "plain":
        command = [programs.path("psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--no-password"]
        _feed(command, dump, environment, identity)
    elif dump.kind == "directory":
        _run(_pg_restore(programs, environment, str(dump.path)), environment)
    else:
        _feed(_pg_restore(programs, environment), dump, environment, identity)


def _pg_restore(programs: Programs, environment: dict[str, str], *what: str) -> list[str]:
    options = ["--exit-on-error", "--no-owner", "--no-privileges", "--no-password"]
    return [programs.path("pg_restore"), *options, f"--dbname={environment['PGDATABASE']}", *what]


def _run(command: list[str], environment: dict[str, str]) -> None:
    with running(command, environment) as child:
        if child.process.wait():
            raise RestoreFailed(f"{Path(command[0]).name} failed: {child.read_complaint()}")


def _feed(command: list[str], dump: ForeignDump, environment: dict[str, str], identity: str | None) -> None:
    with (
        running(command, environment, source=subprocess.PIPE) as child,
        opened(dump.path, dump.layers, identity) as file,
    ):
        pipe = child.process.stdin
        chunks = _checked(file) if dump.kind == "plain" else iter(lambda: file.read(CHUNK_BYTES), b"")
        try:
            for chunk in chunks:
                pipe.write(chunk)  # type: ignore[union-attr]
            pipe.close()  # type: ignore[union-attr]
        except BrokenPipeError:
            pass  # it ended early, and says why
        if child.process.wait():
            raise RestoreFailed(f"{Path(command[0]).name} failed: {child.read_complaint()}")


def _checked(file: BinaryIO) -> Iterator[bytes]:
    """Whole lines. A script that connects to another database would restore over that one."""
    for lines in _lines(file):
        if _ANOTHER_DATABASE.search(lines):
            raise Refused(
                "The script connects to a database of its own choice: it was made with --create.",
                "Make it again without, or delete its CREATE DATABASE and \\connect lines. Nothing was changed.",
            )
        yield lines.replace(_NOT_BEFORE_17, b"", 1)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The content in large pieces that end with a line."""
    rest = b""
    for chunk in iter(lambda: file.read(CHUNK_BYTES), b""):
        whole, newline, rest_of_chunk = chunk.rpartition(b"\n")
        if newline:
            yield rest + whole + newline
            rest = rest_of_chunk
        else:
            rest += chunk
    if rest:
        yield rest


class _Enough(Exception):
    """The rest need not be read."""


def _read_head(path: Path, layers: tuple[Layer, ...], identity: str | None) -> bytes:
    head = b""
    with suppress(_Enough), opened(path, layers, identity) as file:
        head = file.read(_HEAD_BYTES)
        raise _Enough
    return head


def _layer_of(head: bytes) -> Layer | None:
    if head.startswith(b"age-encryption.org/v1"):
        return "age"
    if head.startswith(b"\x1f\x8b"):
        return "gzip"
    return "zstd" if head.startswith(b"\x28\xb5\x2f\xfd") else None


def _kind_of(path: Path, head: bytes) -> Literal["custom", "tar", "plain"]:
    if head.startswith(b"PGDMP"):
        return "custom"
    if head[_TAR_MARK] == b"ustar" and head.startswith(b"toc.dat\0"):
        return "tar"
    if head and b"\0" not in head:
        return "plain"
    raise Refused(f"{path.name} is no dump of PostgreSQL: neither an archive of pg_dump nor SQL.")


def _unquoted(name: bytes) -> str:
    text = name.decode()
    return text[1:-1].replace('""', '"') if text.startswith('"') else text
