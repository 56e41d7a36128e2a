"""What goes wrong between here and a real server: it ends well after a few tries, or in an error that says so.

Nothing is ever half-visible, and nothing stays unfinished where the server can be reached.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from time import monotonic

import pytest

from blocks.errors import AlreadyStored, NotStored, RefusedByStore, Unreachable
from blocks.stores.s3 import S3Store
from tests.blocks.stores.conftest import give_keys
from tests.blocks.stores.contract import LARGE, MEBIBYTE, content_of, get, names, put
from tests.blocks.stores.faults import Fault, FaultProxy, Kind, running_proxy
from tests.blocks.stores.servers import S3Server

TRIES = 4
ALWAYS = 1000
PART = "partNumber=2"


@pytest.fixture
def proxy(swift: S3Server) -> Iterator[FaultProxy]:
    with running_proxy(swift.endpoint) as proxy:
        yield proxy


@pytest.fixture
def direct(swift: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    """The same bucket without the proxy."""
    give_keys(swift, monkeypatch)
    return swift.store(swift.make_bucket())


@pytest.fixture
def store(swift: S3Server, proxy: FaultProxy, direct: S3Store) -> S3Store:
    return swift.store(direct.bucket, endpoint=proxy.endpoint, timeout=1.5)


def unfinished(store: S3Store) -> list[str]:
    return store.abort_unfinished("", datetime.now(UTC) + timedelta(hours=1))


@pytest.mark.parametrize("kind", ["500", "503", "hang", "drop request"])
@pytest.mark.parametrize(("size", "text"), [(3, "name"), (LARGE, PART)], ids=["small", "part"])
def test_a_passing_fault_is_overcome(store: S3Store, proxy: FaultProxy, kind: Kind, size: int, text: str) -> None:
    proxy.faults = [Fault(kind, "PUT", text)]
    put(store, "name", content_of(size))
    assert get(store, "name") == content_of(size)
    assert proxy.asked("PUT", text) == 2
    assert unfinished(store) == []


@pytest.mark.parametrize(
    ("kind", "size", "text"),
    [
        *(("500", 3, "name"), ("503", LARGE, PART), ("drop request", 3, "name")),
        *(("hang", LARGE, PART), ("drop request", LARGE, PART)),
    ],
)
def test_a_lasting_fault_ends_in_an_error(
    store: S3Store, direct: S3Store, proxy: FaultProxy, kind: Kind, size: int, text: str
) -> None:
    proxy.faults = [Fault(kind, "PUT", text, ALWAYS)]
    began = monotonic()
    with pytest.raises(Unreachable) as unreachable:
        put(store, "name", content_of(size))
    assert monotonic() - began < TRIES * store.timeout + 10
    assert unreachable.value.hint
    assert proxy.asked("PUT", text) == TRIES
    assert names(direct) == []
    assert unfinished(direct) == []


@pytest.mark.parametrize("text", ["uploads", "uploadId="])
def test_an_upload_that_cannot_begin_or_end(store: S3Store, direct: S3Store, proxy: FaultProxy, text: str) -> None:
    proxy.faults = [Fault("500", "POST", text, ALWAYS)]
    with pytest.raises(Unreachable):
        put(store, "name", content_of(LARGE))
    assert names(direct) == []
    assert unfinished(direct) == []


def test_who_writes_on_hears_of_a_part_that_failed(store: S3Store, proxy: FaultProxy) -> None:
    proxy.faults = [Fault("drop request", "PUT", "partNumber=1", ALWAYS)]
    taken = []

    def write_on() -> None:
        with store.writing("endless") as writer:
            for _ in range(100):
                taken.append(writer.write(bytes(MEBIBYTE)))

    with pytest.raises(Unreachable):
        write_on()
    assert len(taken) < 100


@pytest.mark.parametrize("checksums", ["sha256", "crc32"])
@pytest.mark.parametrize(("size", "text"), [(3, "name"), (LARGE, PART)], ids=["small", "part"])
def test_what_arrives_spoiled_is_rejected(
    store: S3Store, direct: S3Store, proxy: FaultProxy, size: int, text: str, checksums: str
) -> None:
    proxy.faults = [Fault("spoil", "PUT", text, ALWAYS)]
    with pytest.raises(RefusedByStore) as refused:
        put(store.model_copy(update={"checksums": checksums}), "name", content_of(size))
    assert refused.value.hint
    assert names(direct) == []
    assert unfinished(direct) == []


@pytest.mark.parametrize("only_if_absent", [False, True])
@pytest.mark.parametrize(("size", "method"), [(3, "PUT"), (LARGE, "POST")])
def test_a_lost_answer_is_no_failure(
    store: S3Store, proxy: FaultProxy, size: int, method: str, only_if_absent: bool
) -> None:
    """The repetition meets the object that the first try made, and knows it for its own."""
    proxy.faults = [Fault("lose answer", method, "uploadId=" if method == "POST" else "name")]
    put(store, "name", content_of(size), only_if_absent)
    assert get(store, "name") == content_of(size)


@pytest.mark.parametrize("size", [3, LARGE])
def test_a_lost_answer_does_not_hide_that_another_was_first(
    store: S3Store, direct: S3Store, proxy: FaultProxy, size: int
) -> None:
    method, text = ("PUT", "name") if size == 3 else ("POST", "uploadId=")
    proxy.faults = [Fault("lose answer", method, text)]

    def write_second() -> None:
        with store.writing("name", only_if_absent=True) as writer:
            writer.write(content_of(size))
            put(direct, "name", b"first")

    with pytest.raises(AlreadyStored):
        write_second()
    assert get(direct, "name") == b"first"


def test_an_upload_that_somebody_aborted(store: S3Store, direct: S3Store) -> None:
    def write() -> None:
        with store.writing("name") as writer:
            writer.write(content_of(LARGE))
            assert unfinished(direct) == ["name"]

    with pytest.raises(RefusedByStore) as refused:
        write()
    assert not isinstance(refused.value, NotStored)
    assert names(direct) == []


def test_an_upload_is_given_up_when_its_parts_have_arrived(store: S3Store, proxy: FaultProxy) -> None:
    """One that arrives later would stay."""
    proxy.faults = [Fault("late", "PUT", PART)]

    def fail() -> None:
        with store.model_copy(update={"timeout": 10}).writing("name") as writer:
            writer.write(content_of(LARGE))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert proxy.asked("DELETE") == 1
    assert proxy.late_in_vain


def test_an_exception_while_the_store_is_away(store: S3Store, direct: S3Store, proxy: FaultProxy) -> None:
    """The caller's own error is told; what stayed is found later."""
    proxy.faults = [Fault("drop request", "DELETE", "", ALWAYS)]

    def fail() -> None:
        with store.writing("name") as writer:
            writer.write(content_of(LARGE))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert names(direct) == []
    assert unfinished(direct) == ["name"]


# Reading


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("after", [0, 3 * MEBIBYTE + 5])
def test_a_download_that_breaks_off_is_taken_up(store: S3Store, proxy: FaultProxy, times: int, after: int) -> None:
    put(store, "name", content_of(LARGE))
    proxy.faults = [Fault("truncate", "GET", "name", times, after)]
    assert get(store, "name") == content_of(LARGE)
    assert proxy.asked("GET", "/name") == 1 + times


def test_a_download_that_gets_on_may_break_off_more_often(store: S3Store, proxy: FaultProxy) -> None:
    put(store, "name", content_of(LARGE))
    proxy.faults = [Fault("truncate", "GET", "name", 2 * TRIES, MEBIBYTE)]
    assert get(store, "name") == content_of(LARGE)


def test_a_download_that_breaks_off_for_good(store: S3Store, proxy: FaultProxy) -> None:
    put(store, "name", content_of(LARGE))
    proxy.faults = [Fault("truncate", "GET", "name", 1, 3 * MEBIBYTE), Fault("truncate", "GET", "name", ALWAYS)]
    read: list[bytes] = []
    with pytest.raises(Unreachable) as unreachable:
        read.extend(store.reading("name"))
    assert unreachable.value.hint
    assert content_of(LARGE).startswith(b"".join(read))
    assert proxy.asked("GET", "/name") == TRIES


def test_an_object_that_is_replaced_is_not_mixed(store: S3Store, direct: S3Store, proxy: FaultProxy) -> None:
    put(store, "name", content_of(LARGE))
    proxy.faults = [Fault("truncate", "GET", "name", 1, 3 * MEBIBYTE)]
    chunks = store.reading("name")
    next(chunks)
    put(direct, "name", content_of(LARGE, seed=2))
    with pytest.raises(RefusedByStore, match="replaced"):
        list(chunks)


@pytest.mark.parametrize("kind", ["503", "hang", "drop request"])
def test_every_call_ends(store: S3Store, proxy: FaultProxy, kind: Kind) -> None:
    proxy.faults = [Fault(kind, method, "", ALWAYS) for method in ("GET", "HEAD", "DELETE", "PUT", "POST")]
    impatient = store.model_copy(update={"timeout": 0.2})
    calls: list[Callable[[], object]] = [
        lambda: get(impatient, "name"),
        lambda: names(impatient),
        lambda: impatient.read_object("name"),
        lambda: impatient.read_hold("name"),
        lambda: impatient.delete_object("name"),
        lambda: unfinished(impatient),
    ]
    with ThreadPoolExecutor(len(calls)) as pool:
        errors = [pool.submit(call).exception for call in calls]
    assert [type(error()) for error in errors] == [Unreachable] * len(calls)
