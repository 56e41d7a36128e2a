"""pg_dump's directory, emptied while it grows: all of it arrives, little lies on the disk, and every failure is one."""

import threading
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from blocks.postgres import dump
from blocks.postgres.dump import CHUNK_BYTES, LARGE_BYTES, STOP_ABOVE_BYTES, DumpFailed
from tests.blocks.platforms.waiting import eventually
from tests.blocks.postgres.workshop import Kept, Workshop, children_at_work


class Broken(Exception):
    """What a sink raises."""


class FailingAtLarge(Kept):
    def take_large(self, name: str, chunks: Iterator[bytes]) -> None:
        next(chunks)
        raise Broken


class FailingAtSmall(Kept):
    def take_small(self, files: Iterator[tuple[str, bytes]]) -> None:
        next(files)
        raise Broken


class Slow(Kept):
    """Reads on only once pg_dump was stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.was_stopped = threading.Event()
        self.size = 0

    def take_large(self, name: str, chunks: Iterator[bytes]) -> None:
        for chunk in chunks:
            self.was_stopped.wait(20)
            self.size += len(chunk)


def test_small_and_large_files_arrive_whole(workshop: Workshop) -> None:
    workshop.fill(9)
    workshop.execute("CREATE TABLE word (text text); INSERT INTO word VALUES ('x'), ('y'); CREATE TABLE empty ()")
    sink = Kept()
    workshop.dump(sink)
    (large,) = sink.large.values()
    assert len(large) > LARGE_BYTES > CHUNK_BYTES
    assert large.count(b"\n") == 9000 + 3
    assert b"x\ny\n\\.\n\n\n" in sink.small.values()
    assert list(sink.small)[-1] == "toc.dat"


def test_many_tables_arrive_each_once(workshop: Workshop) -> None:
    workshop.execute(
        "DO $$ BEGIN FOR n IN 1..300 LOOP EXECUTE format('CREATE TABLE t%s AS SELECT %s AS n', n, n); END LOOP; END $$"
    )
    sink = Kept()
    workshop.dump(sink)
    rows = sorted(int(content.split(b"\n")[0]) for name, content in sink.small.items() if name != "toc.dat")
    assert rows == list(range(1, 301))


def test_a_long_table_of_contents_is_handed_over_whole(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("LARGE_BYTES", "STOP_ABOVE_BYTES", "CONTINUE_BELOW_BYTES"):
        monkeypatch.setattr(dump, limit, 1000)
    workshop.execute("CREATE TABLE word (text text); CREATE TABLE other (text text)")
    sink = Kept()
    workshop.dump(sink)
    assert sink.small["toc.dat"].startswith(b"PGDMP")
    assert len(sink.small["toc.dat"]) > 1000


def test_a_slow_sink_stops_pg_dump_and_keeps_the_disk_free(workshop: Workshop) -> None:
    workshop.fill(160)
    sink, used = Slow(), [0]

    def look() -> None:
        used.append(workshop.used_bytes())
        with suppress(psutil.NoSuchProcess):
            if any(process.status() == psutil.STATUS_STOPPED for process in children_at_work("pg_dump")):
                sink.was_stopped.set()

    workshop.dump(sink, look)
    assert sink.was_stopped.is_set()
    assert sink.size > 159_000_000
    assert STOP_ABOVE_BYTES / 2 < max(used) < 100_000_000


def test_a_file_system_that_gives_nothing_back_only_takes_more_disk(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump, "_give_back", lambda descriptor, up_to: None)
    workshop.fill(120)
    sink = Kept()
    workshop.dump(sink)
    assert sum(map(len, sink.large.values())) > 119_000_000


@pytest.mark.parametrize("sink", [FailingAtLarge(), FailingAtSmall()], ids=["large", "small"])
def test_what_a_sink_raises_ends_the_dump(workshop: Workshop, sink: Kept) -> None:
    workshop.fill(50)
    workshop.execute("CREATE TABLE word (text text)")
    with pytest.raises(Broken):
        workshop.dump(sink)


def test_a_pg_dump_that_is_killed_is_no_dump(workshop: Workshop) -> None:
    workshop.fill(50)
    sink = Slow()

    def kill() -> None:
        if children_at_work("pg_dump"):
            children_at_work("pg_dump")[0].kill()
            sink.was_stopped.set()

    with pytest.raises(DumpFailed):
        workshop.dump(sink, kill)
    assert "toc.dat" not in sink.small


def test_a_database_that_goes_away_in_the_middle_is_named(workshop: Workshop) -> None:
    workshop.fill(50)
    sink = Slow()

    def cut_off() -> None:
        if sink.small or workshop.used_bytes() > LARGE_BYTES:
            workshop.server.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'backstop test'"
            )
            sink.was_stopped.set()

    named = r"(terminating connection|closed the connection|snapshot .* not exist)"
    with pytest.raises(DumpFailed, match=f"pg_dump failed: .*{named}"):
        workshop.dump(sink, cut_off)
    assert "toc.dat" not in sink.small


def test_what_the_server_refuses_is_told(workshop: Workshop) -> None:
    environment = workshop.environment | {"PGDATABASE": "nowhere"}
    with pytest.raises(DumpFailed, match='database "nowhere" does not exist'):
        workshop._replace(environment=environment).dump(Kept())
    eventually(lambda: children_at_work("pg_dump") == [])
