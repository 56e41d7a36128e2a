"""pg_restore from files that come through pipes: whoever fails is named, and nothing waits for ever."""

import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from blocks.errors import BackupIsBad
from blocks.postgres.connection import libpq_environment
from blocks.postgres.programs import Programs
from blocks.postgres.restore import Feed, RestoreFailed, ServerFailed, restore
from tests.blocks.platforms.waiting import eventually
from tests.blocks.postgres.workshop import Kept, Workshop, children_at_work

Target = tuple[str, dict[str, str]]


@pytest.fixture
def kept(workshop: Workshop) -> Kept:
    """A dump of two large tables and a small one."""
    workshop.fill(9)
    workshop.execute("CREATE TABLE other AS SELECT n, repeat('y', 900) FROM generate_series(1, 9000) n")
    workshop.execute("CREATE TABLE word (text text); INSERT INTO word VALUES ('x')")
    kept = Kept()
    workshop.dump(kept)
    assert len(kept.large) == 2
    return kept


def restore_from(workshop: Workshop, kept: Kept, feeds: dict[str, Feed], on_look: Callable[[], None]) -> str:
    """Into a new database; returns its name."""
    database, folder = workshop.server.make_database(), workshop.folder / "small"
    folder.mkdir()
    for name, content in kept.small.items():
        (folder / name).write_bytes(content)
    try:
        with libpq_environment(workshop.server.url(), "test", database) as environment:
            restore(workshop.programs, folder, feeds, environment, [], on_look)
        return database
    except BaseException:
        workshop.server.execute(f"DROP DATABASE {database} WITH (FORCE)")
        raise


def feeds_of(kept: Kept, **changed: Feed) -> dict[str, Feed]:
    """The large files in chunks; `first` in place of the first one's."""

    def feed(content: bytes) -> Feed:
        def write_all(write: Callable[[bytes], object]) -> None:
            for at in range(0, len(content), 100_000):
                write(content[at : at + 100_000])

        return write_all

    feeds = {name: feed(content) for name, content in kept.large.items()}
    return feeds | ({sorted(feeds)[0]: changed["first"]} if changed else {})


def test_all_of_it_comes_back(workshop: Workshop, kept: Kept) -> None:
    looks: list[int] = []
    database = restore_from(workshop, kept, feeds_of(kept), lambda: looks.append(1))
    for table in ("large", "other", "word"):
        count = f"SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} t"  # noqa: S608
        assert workshop.server.execute(count, database) == workshop.execute(count)
    assert looks
    workshop.server.execute(f"DROP DATABASE {database} WITH (FORCE)")


@pytest.mark.parametrize("size", [0, 1_000_000, None], ids=["at once", "in the middle", "at its end"])
def test_a_feed_that_fails_is_the_reason_that_is_told(workshop: Workshop, kept: Kept, size: int | None) -> None:
    def fail(write: Callable[[bytes], object]) -> None:
        if size != 0:
            write(kept.large[sorted(kept.large)[0]][:size])
        raise BackupIsBad("the digest differs")  # pg_restore takes a file that is cut off for a whole one

    with pytest.raises(BackupIsBad, match="the digest differs"):
        restore_from(workshop, kept, feeds_of(kept, first=fail), lambda: None)


def test_a_feed_that_fails_is_told_also_when_pg_restore_was_content(workshop: Workshop, kept: Kept) -> None:
    looking = threading.Event()

    def fail_late(write: Callable[[bytes], object]) -> None:
        write(kept.large[sorted(kept.large)[0]])
        looking.wait(20)
        raise BackupIsBad("the digest differs")

    def look_away() -> None:
        looking.set()
        eventually(lambda: not children_at_work("pg_restore"))

    with pytest.raises(BackupIsBad, match="the digest differs"):
        restore_from(workshop, kept, feeds_of(kept, first=fail_late), look_away)


def test_a_pg_restore_that_fails_is_told_in_its_words(workshop: Workshop, kept: Kept) -> None:
    def lie(write: Callable[[bytes], object]) -> None:
        write(b"not a number\tx\n\\.\n\n\n")

    with pytest.raises(RestoreFailed, match=r"pg_restore failed: .*invalid input syntax for type integer"):
        restore_from(workshop, kept, feeds_of(kept, first=lie), lambda: None)


def test_a_table_of_contents_that_is_damaged_is_told(workshop: Workshop, kept: Kept) -> None:
    kept.small["toc.dat"] = kept.small["toc.dat"][:200]
    with pytest.raises(RestoreFailed, match="pg_restore failed"):
        restore_from(workshop, kept, feeds_of(kept), lambda: None)


def test_a_server_that_cuts_the_restore_off_is_told(workshop: Workshop, kept: Kept) -> None:
    def cut_off() -> None:
        workshop.server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'backstop test' AND query LIKE 'COPY%'"
        )

    with pytest.raises(ServerFailed, match=r"terminating connection|closed the connection"):
        restore_from(workshop, kept, feeds_of(kept), cut_off)


BREAKS_OFF_FIRST = """#!/bin/sh
for folder; do :; done
exec 3< "$folder/3.dat"
exec 3<&-
until [ -e "$folder/over" ]; do sleep 0.02; done
echo 'pg_restore: error: server closed the connection unexpectedly' >&2
exit 1
"""


def test_a_server_that_cuts_one_of_its_jobs_off_is_told_in_the_words_of_its_end(tmp_path: Path) -> None:
    looks_since: list[int] = []
    broken_off = threading.Event()
    (tmp_path / "pg_restore").write_text(BREAKS_OFF_FIRST)
    (tmp_path / "pg_restore").chmod(0o700)

    def feed(write: Callable[[bytes], object]) -> None:
        try:
            while True:
                write(bytes(100_000))
        finally:
            broken_off.set()

    def look() -> None:
        if broken_off.is_set():
            looks_since.append(1)
        if len(looks_since) == 3:
            (tmp_path / "over").touch()

    with pytest.raises(ServerFailed, match="closed the connection"):
        restore(Programs(tmp_path, "18.0"), tmp_path, {"3.dat": feed}, {"PGDATABASE": "any"}, [], look)


def test_a_look_that_raises_ends_it(workshop: Workshop, kept: Kept) -> None:
    def cancel() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restore_from(workshop, kept, feeds_of(kept), cancel)


def test_a_database_that_does_not_exist_is_told(workshop: Workshop, kept: Kept, tmp_path: Path) -> None:
    (tmp_path / "toc.dat").write_bytes(kept.small["toc.dat"])
    with (
        pytest.raises(RestoreFailed, match='database "nowhere" does not exist'),
        libpq_environment(workshop.server.url(), "test", "nowhere") as environment,
    ):
        restore(workshop.programs, tmp_path, feeds_of(kept), environment, [])
    with pytest.raises(psycopg.OperationalError):
        workshop.server.connect("nowhere")
