import errno
import os
import resource
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from blocks.errors import NotStored, RefusedByStore, Unreachable
from blocks.stores.directory import DirectoryStore
from tests.blocks.stores.contract import MEBIBYTE, StoreContract, content_of, get, names, put


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "backups"
    made.mkdir(mode=0o700)
    return made


@pytest.fixture
def store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> DirectoryStore:
    monkeypatch.setenv("BACKUP_FOLDER", str(folder))
    return DirectoryStore(folder="${BACKUP_FOLDER}")


class TestDirectory(StoreContract):
    @pytest.fixture
    def store(self, store: DirectoryStore) -> DirectoryStore:
        return store


def test_only_the_owner_may_look(store: DirectoryStore, folder: Path) -> None:
    put(store, "shop/base/pack", b"x")
    modes = {str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}
    assert modes == {"shop": 0o700, "shop/base": 0o700, "shop/base/pack": 0o600}


def test_there_is_no_cold_class(store: DirectoryStore) -> None:
    put(store, "name", b"x")
    assert store.move_to_cold("name") is False
    with pytest.raises(NotStored):
        store.move_to_cold("never")


def test_a_folder_that_is_missing_is_never_made(store: DirectoryStore, folder: Path) -> None:
    folder.rmdir()
    for call in (lambda: put(store, "name", b"x"), lambda: names(store), store.read_free_bytes):
        with pytest.raises(Unreachable) as unreachable:
            call()
        assert unreachable.value.hint
    assert not folder.exists()


def test_a_relative_folder_is_refused() -> None:
    with pytest.raises(RefusedByStore):
        names(DirectoryStore(folder="backups"))


def test_a_name_and_a_folder_of_that_name(store: DirectoryStore) -> None:
    put(store, "a", b"x")
    with pytest.raises(RefusedByStore):
        put(store, "a/b", b"y")
    put(store, "b/c", b"y")
    with pytest.raises(RefusedByStore):
        put(store, "b", b"x")
    assert names(store) == ["a", "b/c"]


def test_a_draft_that_grows_stays(store: DirectoryStore, folder: Path) -> None:
    with store.writing("shop/slow") as writer:
        writer.write(b"x")
        (draft,) = (folder / "shop").iterdir()
        os.utime(draft, (0, 0))
        writer.write(b"y")
        assert store.abort_unfinished("", datetime.now(UTC) - timedelta(hours=1)) == []
    assert get(store, "shop/slow") == b"xy"


def test_what_others_put_there_is_not_shown(store: DirectoryStore, folder: Path) -> None:
    (folder / ".hidden").write_text("x")
    (folder / "with space").write_text("x")
    assert names(store) == []
    assert store.abort_unfinished("", datetime.now(UTC) + timedelta(hours=1)) == []
    assert len(list(folder.iterdir())) == 2


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may grow beyond a megabyte: the kernel refuses the write in the middle, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MEBIBYTE, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("full_disk")
def test_no_room(store: DirectoryStore, folder: Path) -> None:
    with pytest.raises(RefusedByStore) as refused:
        put(store, "large", content_of(3 * MEBIBYTE))
    assert "full" in str(refused.value)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        *((errno.ENOSPC, RefusedByStore), (errno.EDQUOT, RefusedByStore), (errno.EROFS, RefusedByStore)),
        *((errno.EIO, Unreachable), (errno.ESTALE, Unreachable)),
    ],
)
def test_a_disk_that_fails_at_the_end(
    store: DirectoryStore, folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    put(store, "name", b"older")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(kind):
        put(store, "name", b"newer")
    assert [path.name for path in folder.iterdir()] == ["name"]
    assert get(store, "name") == b"older"
