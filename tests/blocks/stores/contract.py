"""What every backup store must do: one test body, inherited by the test of each store.

A store's test makes a subclass with a fixture `store`: an empty one.
"""

import functools
import hashlib
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

import pytest

from blocks.errors import AlreadyStored, NotStored, RefusedByStore
from blocks.stores.interface import Store, Writer

MEBIBYTE = 1024 * 1024
LARGE = 12 * MEBIBYTE + 7
"""More than two parts of the smallest size that a bucket takes."""

REFUSED_NAMES = [
    *("", "/", "/etc/passwd", "..", "../x", "a/../b", "a//b", "a/", "./a", ".hidden", "a/.hidden"),
    *("a b", "a\nb", "a\0b", "ü", "a\\b", "a?b", "a%2e", "x" * 201, "a/" * 256 + "a"),
]


@functools.lru_cache(maxsize=8)
def content_of(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def put(store: Store, name: str, content: bytes, only_if_absent: bool = False) -> None:
    with store.writing(name, only_if_absent) as writer:
        for start in range(0, len(content), MEBIBYTE):
            chunk = content[start : start + MEBIBYTE]
            assert writer.write(chunk) == len(chunk)


def get(store: Store, name: str) -> bytes:
    return b"".join(store.reading(name))


def names(store: Store, prefix: str = "") -> list[str]:
    return [stored.name for stored in store.read_objects(prefix)]


class StoreContract:
    tells_when_begun = True
    """False for a server that makes up when an upload began."""
    one_at_a_time = True
    """False for a server that looks whether the object exists, then writes: two requests that overlap both pass."""

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        raise NotImplementedError

    # Writing and reading

    @pytest.mark.parametrize("size", [0, 1, 5 * MEBIBYTE, 5 * MEBIBYTE + 1, 10 * MEBIBYTE, LARGE])
    def test_what_was_written_is_read(self, store: Store, size: int) -> None:
        content = content_of(size)
        put(store, "shop/2026/base.pack", content)
        assert hashlib.sha256(get(store, "shop/2026/base.pack")).digest() == hashlib.sha256(content).digest()
        stored = store.read_object("shop/2026/base.pack")
        assert stored
        assert (stored.name, stored.size, stored.cold) == ("shop/2026/base.pack", size, False)
        assert abs(datetime.now(UTC) - stored.modified_at) < timedelta(minutes=1)

    def test_one_large_chunk_is_taken_whole(self, store: Store) -> None:
        content = content_of(LARGE)
        with store.writing("whole") as writer:
            assert writer.write(content) == LARGE
        assert get(store, "whole") == content

    @pytest.mark.parametrize("size", [3, LARGE])
    def test_nobody_sees_it_before_it_is_whole(self, store: Store, size: int) -> None:
        with store.writing("slow") as writer:
            writer.write(content_of(size))
            assert store.read_object("slow") is None
            assert names(store) == []
        assert names(store) == ["slow"]

    @pytest.mark.parametrize("size", [3, LARGE])
    @pytest.mark.parametrize("error", [RuntimeError, FileExistsError, KeyboardInterrupt])
    def test_an_exception_leaves_nothing_behind(self, store: Store, size: int, error: type[BaseException]) -> None:
        def fail() -> None:
            with store.writing("broken") as writer:
                writer.write(content_of(size))
                raise error("in the caller's block")

        with pytest.raises(error):
            fail()
        assert names(store) == []
        assert store.abort_unfinished("", datetime.now(UTC) + timedelta(hours=1)) == []

    @pytest.mark.parametrize("size", [3, LARGE])
    def test_an_exception_leaves_the_older_object(self, store: Store, size: int) -> None:
        def fail() -> None:
            with store.writing("kept") as writer:
                writer.write(content_of(size, seed=2))
                raise RuntimeError

        put(store, "kept", b"older")
        with pytest.raises(RuntimeError):
            fail()
        assert get(store, "kept") == b"older"

    @pytest.mark.parametrize("size", [3, LARGE])
    def test_an_object_is_replaced(self, store: Store, size: int) -> None:
        put(store, "again", b"older")
        put(store, "again", content_of(size))
        assert get(store, "again") == content_of(size)
        assert names(store) == ["again"]

    def test_many_write_at_a_time(self, store: Store) -> None:
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda seed: put(store, f"many/{seed}", content_of(LARGE, seed)), range(6)))
        for seed in range(6):
            assert get(store, f"many/{seed}") == content_of(LARGE, seed)

    # Only if absent

    @pytest.mark.parametrize("size", [3, LARGE])
    def test_what_exists_is_left_as_it_is(self, store: Store, size: int) -> None:
        put(store, "manifest", b"first", only_if_absent=True)
        with pytest.raises(AlreadyStored) as refused:
            put(store, "manifest", content_of(size), only_if_absent=True)
        assert refused.value.hint
        assert get(store, "manifest") == b"first"

    @pytest.mark.parametrize("size", [3, LARGE])
    def test_of_two_under_way_the_first_wins(self, store: Store, size: int) -> None:
        def write_second() -> None:
            with store.writing("race", only_if_absent=True) as writer:
                writer.write(content_of(size, seed=2))
                put(store, "race", content_of(size, seed=1), only_if_absent=True)

        with pytest.raises(AlreadyStored):
            write_second()
        assert get(store, "race") == content_of(size, seed=1)
        assert store.abort_unfinished("", datetime.now(UTC) + timedelta(hours=1)) == []

    @pytest.mark.parametrize("size", [3, LARGE])
    def test_of_two_at_the_same_moment_one_wins(self, store: Store, size: int) -> None:
        both = threading.Barrier(2)

        if not self.one_at_a_time:
            pytest.skip("the server looks, then writes")

        def write(seed: int) -> bytes:
            content = content_of(size, seed)
            try:
                with store.writing("race", only_if_absent=True) as writer:
                    writer.write(content)
                    both.wait(10)
            except AlreadyStored:
                return b""
            return content

        with ThreadPoolExecutor(2) as pool:
            written = [content for content in pool.map(write, (1, 2)) if content]
        assert written == [get(store, "race")]
        assert store.abort_unfinished("", datetime.now(UTC) + timedelta(hours=1)) == []

    # Looking

    def test_objects_are_listed_by_name(self, store: Store) -> None:
        for name in ("b", "a/2", "a/10", "a-b", "a/1/x", "B"):
            put(store, name, name.encode())
        assert names(store) == sorted(("b", "a/2", "a/10", "a-b", "a/1/x", "B"))
        assert names(store, "a/") == ["a/1/x", "a/10", "a/2"]
        assert names(store, "a") == ["a-b", "a/1/x", "a/10", "a/2"]
        assert names(store, "a/1") == ["a/1/x", "a/10"]
        assert names(store, "none/of/them") == []
        assert {stored.name: stored.size for stored in store.read_objects("a/1")} == {"a/1/x": 5, "a/10": 4}

    def test_what_is_not_stored(self, store: Store) -> None:
        put(store, "there/too", b"x")
        for name in ("never", "there", "there/too/far"):
            assert store.read_object(name) is None
            with pytest.raises(NotStored) as absent:
                get(store, name)
            assert absent.value.hint
            assert store.read_hold(name) == ""

    def test_free_bytes_are_a_number_or_the_vendors_business(self, store: Store) -> None:
        free = store.read_free_bytes()
        assert free is None or free > 0

    # Names

    @pytest.mark.parametrize("name", REFUSED_NAMES)
    def test_a_name_that_leads_astray_is_refused(self, store: Store, name: str) -> None:
        def write() -> None:
            with store.writing(name) as writer:
                writer.write(b"x")

        for call in (
            write,
            lambda: list(store.reading(name)),
            lambda: store.read_object(name),
            lambda: store.read_hold(name),
            lambda: store.delete_object(name),
            lambda: store.move_to_cold(name),
        ):
            with pytest.raises(RefusedByStore) as refused:
                call()
            assert len(str(refused.value)) < 400
        assert names(store) == []

    @pytest.mark.parametrize("prefix", ["/", "..", "../", "a/../", ".hidden", "a//"])
    def test_a_prefix_that_leads_astray_is_refused(self, store: Store, prefix: str) -> None:
        with pytest.raises(RefusedByStore):
            names(store, prefix)
        with pytest.raises(RefusedByStore):
            store.abort_unfinished(prefix, datetime.now(UTC))

    def test_all_that_may_stand_in_a_name(self, store: Store) -> None:
        for name in ("a+b=c_d-e.f/G9", "x" * 200, "/".join("abcdefgh" for _ in range(50))):
            put(store, name, name.encode())
            assert get(store, name) == name.encode()
            assert names(store, name) == [name]

    # Deleting

    def test_deleting_twice_changes_nothing(self, store: Store) -> None:
        put(store, "old/one", b"x")
        put(store, "old/two", b"y")
        store.delete_object("old/one")
        assert names(store) == ["old/two"]
        assert store.read_object("old/one") is None
        store.delete_object("old/one")
        store.delete_object("never")
        assert names(store) == ["old/two"]

    def test_a_deleted_name_can_be_taken_again(self, store: Store) -> None:
        put(store, "name", b"first", only_if_absent=True)
        store.delete_object("name")
        put(store, "name", b"second", only_if_absent=True)
        assert get(store, "name") == b"second"

    # Unfinished

    def test_what_was_never_finished_is_given_up(self, store: Store) -> None:
        for name in ("shop/one", "shop/two", "other/three"):
            abandoned = store.writing(name)
            abandoned.__enter__().write(content_of(LARGE))
            self.forgotten.append(abandoned)
        if self.tells_when_begun:
            assert store.abort_unfinished("shop/", datetime.now(UTC) - timedelta(hours=1)) == []
        later = datetime.now(UTC) + timedelta(hours=1)
        assert store.abort_unfinished("shop/", later) == ["shop/one", "shop/two"]
        assert store.abort_unfinished("shop/", later) == []
        assert store.abort_unfinished("", later) == ["other/three"]
        assert names(store) == []

    @pytest.fixture(autouse=True)
    def _forget(self) -> Iterator[None]:
        """Held until the end of the test: a writer that is collected cleans up after itself."""
        self.forgotten: list[AbstractContextManager[Writer]] = []
        yield
        for abandoned in self.forgotten:
            assert not abandoned.__exit__(RuntimeError, RuntimeError("the process died"), None)
