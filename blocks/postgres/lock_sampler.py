"""Which tables a session locked, how strongly and for how long, as somebody beside it sees it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString, NamedTuple

import psycopg

from blocks.postgres.connection import Connection, application_name, connect

INTERVAL_SECONDS = 0.01
"""A lock that was held for less may not be seen."""
STRENGTHS = (
    *("AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock"),
    *("ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"),
)
"""PostgreSQL's table locks, the weakest first."""
WRITES_WAIT_FROM = STRENGTHS.index("ShareLock")
READS_WAIT_FROM = STRENGTHS.index("AccessExclusiveLock")

_HELD: LiteralString = """
SELECT n.nspname || '.' || c.relname, l.mode FROM pg_locks l
JOIN pg_stat_activity a ON a.pid = l.pid JOIN pg_class c ON c.oid = l.relation
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE l.granted AND l.locktype = 'relation' AND a.application_name = %s AND a.datname = current_database()
  AND c.relkind IN ('r', 'p', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
"""


class HeldLock(NamedTuple):
    """The strongest lock on one table."""

    table: str
    """As public.tasks; one that was made meanwhile is not among them until it is seen by others."""
    mode: str
    seconds: float
    """From the first time that it was seen to the last."""

    @property
    def stops(self) -> str:
        """What of others waits meanwhile: nothing, writes, or everything."""
        strength = STRENGTHS.index(self.mode)
        return "everything" if strength >= READS_WAIT_FROM else "writes" if strength >= WRITES_WAIT_FROM else "nothing"


class LockSampler:
    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], tuple[float, float]] = {}

    def take(self, connection: Connection, name: str) -> None:
        """Look once at the sessions of that application name."""
        now = time.monotonic()
        for table, mode in connection.execute(_HELD, [name]).fetchall():
            first, _ = self._seen.get((str(table), str(mode)), (now, now))
            self._seen[str(table), str(mode)] = (first, now)

    def strongest(self) -> list[HeldLock]:
        """One a table, by name."""
        found: dict[str, HeldLock] = {}
        for (table, mode), (first, last) in self._seen.items():
            lock = HeldLock(table, mode, last - first + INTERVAL_SECONDS)
            known = found.get(table)
            if known is None or STRENGTHS.index(mode) > STRENGTHS.index(known.mode):
                found[table] = lock
        return sorted(found.values())


@contextmanager
def sampled_locks(url: str, database: str, purpose: str) -> Iterator[LockSampler]:
    """While the block runs, the locks of the sessions of that purpose are looked at again and again."""
    sampler, over = LockSampler(), threading.Event()

    def watch() -> None:
        with connect(url, f"{purpose} locks", database) as connection:
            while not over.wait(INTERVAL_SECONDS):
                try:
                    sampler.take(connection, application_name(purpose))
                except psycopg.Error:
                    return  # whoever uses the server is told so, there

    watcher = threading.Thread(target=watch, name="lock-sampler")
    watcher.start()
    try:
        yield sampler
    finally:
        over.set()
        watcher.join()
