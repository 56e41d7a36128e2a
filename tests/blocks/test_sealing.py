"""Sealing: what goes in comes out, in formats that other programs read; and damage never comes out as content."""

import io
import random
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyrage
import pytest
import zstandard

from blocks.errors import BackupIsBad, NotStored, Refused
from blocks.sealing import Seal, Unsealing, read_identity, read_recipient, unseal

MEBIBYTE = 1 << 20
IDENTITY = pyrage.x25519.Identity.generate()
RECIPIENT = str(IDENTITY.to_public())
SEALS = {".zst": Seal(), ".zst.age": Seal((RECIPIENT,))}


class Collecting(io.BytesIO):
    """A writer whose content is read afterwards."""


def seal(suffix: str, chunks: list[bytes]) -> bytes:
    collecting = Collecting()
    assert SEALS[suffix].suffix == suffix
    SEALS[suffix].write(iter(chunks), collecting)
    return collecting.getvalue()


def open_again(suffix: str, content: bytes, identity: str | None = str(IDENTITY), size: int = 7000) -> bytes:
    parts: list[bytes] = []
    unseal((content[at : at + size] for at in range(0, len(content), size)), f"x{suffix}", identity, parts.append)
    return b"".join(parts)


@pytest.mark.parametrize("suffix", SEALS)
@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 3 * MEBIBYTE + 1])
def test_what_went_in_comes_out(suffix: str, size: int) -> None:
    content = random.Random(size).randbytes(size)
    sealed = seal(suffix, [content[:10], b"", content[10:]])
    assert open_again(suffix, sealed) == content
    assert open_again(suffix, sealed, size=1 << 20) == content


@pytest.mark.parametrize("suffix", SEALS)
def test_every_cut_and_every_flipped_bit_is_found(suffix: str) -> None:
    sealed = seal(suffix, [b"some words " * 2000])
    for length in range(0, len(sealed), max(1, len(sealed) // 60)):
        with pytest.raises(BackupIsBad):
            open_again(suffix, sealed[:length])
    for place in range(0, len(sealed), max(1, len(sealed) // 60)):
        changed = bytearray(sealed)
        changed[place] ^= 0x10
        with suppress(BackupIsBad):  # else it was a bit that says nothing, as one of a header
            assert open_again(suffix, bytes(changed)) == b"some words " * 2000
    with pytest.raises(BackupIsBad):
        open_again(suffix, sealed + b"more")


def test_the_content_is_not_readable_without_the_key() -> None:
    sealed = seal(".zst.age", [b"a secret word"])
    assert b"secret" not in sealed
    with pytest.raises(BackupIsBad, match="another key"):
        open_again(".zst.age", sealed, str(pyrage.x25519.Identity.generate()))
    with pytest.raises(Refused, match="names no identity"):
        open_again(".zst.age", sealed, None)
    with pytest.raises(Refused, match="no key of age or ssh"):
        open_again(".zst.age", sealed, "nonsense")


def test_any_one_of_several_keys_opens_it() -> None:
    other, collecting = pyrage.x25519.Identity.generate(), Collecting()
    Seal((RECIPIENT, str(other.to_public()))).write(iter([b"content"]), collecting)
    for identity in (IDENTITY, other):
        assert open_again(".zst.age", collecting.getvalue(), str(identity)) == b"content"


def test_ssh_keys_open_it_too(tmp_path: Path) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")]
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    subprocess.run(command, check=True, timeout=20)
    collecting = Collecting()
    Seal(((tmp_path / "key.pub").read_text(),)).write(iter([b"content"]), collecting)
    assert open_again(".zst.age", collecting.getvalue(), (tmp_path / "key").read_text()) == b"content"


def test_keys_are_read_as_age_keygen_writes_them() -> None:
    assert read_identity(f"# created: today\n# public key: {RECIPIENT}\n{IDENTITY}\n")
    assert read_recipient(RECIPIENT)
    for bad in ("", "age1nonsense", str(IDENTITY)):
        with pytest.raises(ValueError, match="must be a public key"):
            read_recipient(bad)


@pytest.mark.parametrize("suffix", SEALS)
def test_what_the_writer_raises_is_what_the_caller_meets(suffix: str) -> None:
    class Full(io.BytesIO):
        def write(self, chunk: object) -> int:
            raise NotStored("full")

    with pytest.raises(NotStored, match="full"):
        SEALS[suffix].write(iter([random.randbytes(MEBIBYTE)]), Full())


@pytest.mark.parametrize("suffix", SEALS)
def test_what_the_source_raises_is_what_the_caller_meets(suffix: str) -> None:
    def failing() -> Iterator[bytes]:
        yield random.randbytes(MEBIBYTE)
        raise NotStored("gone")

    with pytest.raises(NotStored, match="gone"):
        SEALS[suffix].write(failing(), Collecting())
    with pytest.raises(NotStored, match="gone"):
        unseal(
            failing_after(seal(suffix, [random.randbytes(MEBIBYTE)])), f"x{suffix}", str(IDENTITY), lambda chunk: None
        )


def failing_after(sealed: bytes) -> Iterator[bytes]:
    yield sealed[: len(sealed) // 2]
    raise NotStored("gone")


def test_what_takes_the_opened_content_may_fail(tmp_path: Path) -> None:
    def full(chunk: bytes) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        unseal(iter([seal(".zst.age", [b"x" * MEBIBYTE])]), "x.zst.age", str(IDENTITY), full)


@pytest.mark.parametrize("suffix", SEALS)
@pytest.mark.parametrize("size", [1, 1000, MEBIBYTE])
def test_the_object_is_read_to_its_end_where_its_digest_is_checked(suffix: str, size: int) -> None:
    sealed = seal(suffix, [b"content" * 5000])

    def checked() -> Iterator[bytes]:
        for at in range(0, len(sealed), size):
            yield sealed[at : at + size]
        raise BackupIsBad("its digest differs")

    with pytest.raises(BackupIsBad, match="its digest differs"):
        unseal(checked(), f"x{suffix}", str(IDENTITY), lambda chunk: None)


def test_unsealing_gives_a_file_and_says_what_went_wrong() -> None:
    threads = threading.active_count()
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w|") as files:
        entry = tarfile.TarInfo("word")
        entry.size = 5 * MEBIBYTE
        files.addfile(entry, io.BytesIO(bytes(entry.size)))
    sealed = seal(".zst.age", [archive.getvalue()])
    with Unsealing(iter([sealed]), "x.zst.age", str(IDENTITY)) as opened:
        assert opened.file.read() == archive.getvalue()
    with pytest.raises(BackupIsBad), Unsealing(iter([sealed[:-1]]), "x.zst.age", str(IDENTITY)) as opened:
        opened.file.read()
    with pytest.raises(KeyError), Unsealing(iter([sealed]), "x.zst.age", str(IDENTITY)) as opened:
        raise KeyError("who reads fails")
    assert threading.active_count() == threads


def test_standard_programs_open_it(tmp_path: Path) -> None:
    sealed = seal(".zst", [b"content " * 1000])
    assert zstandard.ZstdDecompressor().decompressobj().decompress(sealed) == b"content " * 1000
    assert pyrage.decrypt(seal(".zst.age", [b"content"]), [IDENTITY])[:4] == b"\x28\xb5\x2f\xfd"
