"""The fence around one environment: one holder, and an epoch that tells it apart.

A session-level advisory lock is the fence: the kernel closes a dead process's
connection and the lock is free. Each taking raises the environment's epoch, and a
holder writes its intent under its epoch before every effect.
"""

import hashlib
import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import LiteralString, NamedTuple

import psycopg
from psycopg.pq import TransactionStatus

from blocks.errors import EnvironmentBusy, FenceLost
from blocks.ledger.connection import Connection, Row
from blocks.process_name import own_process_name

BEAT_SECONDS = 1.0
RELEASE_SECONDS = 10
NAMING_SECONDS = 2
"""How long one that has the lock may take to write down who it is, for whoever is refused to be told."""
SILENT_SECONDS = 15
"""A holder that has not beaten for this long is stopped or cut off: its session is ended."""
LOOK_AGAIN_SECONDS = 2 * BEAT_SECONDS
"""But not before a second look: with the server's clock set ahead, every holder seems silent until it beats again."""


class Fence:
    """Held from `take` to `release`. Every method may raise FenceLost."""

    def __init__(self, connection: Connection, environment: str, run_id: str) -> None:
        self.connection = connection
        self.environment = environment
        self.run_id = run_id
        self.epoch = 0
        self._released = threading.Event()
        self._beating = threading.Lock()
        """Held for the length of a beat."""
        self._heart = threading.Thread()
        self._silent_since: tuple[object, float] | None = None
        """The last beat of a holder that seems silent, and when that was seen first."""

    def take(self, patience: float = 0.0, leftovers: bool = False) -> None:
        """Become the holder, waiting `patience` seconds at most for another one to leave.

        Raises EnvironmentBusy with who holds it, since when and what it is doing, also
        when a dead run left an undo armed, unless `leftovers` are what it is taken for.
        """
        began = time.monotonic()
        while not self._try_lock():
            silent = self._watch_silent_holder()
            if silent is not None and silent >= LOOK_AGAIN_SECONDS:
                self._evict_silent_holder()
                patience = max(patience, RELEASE_SECONDS)
            holder = read_holder(self.connection, self.environment)
            is_watched = silent is not None and silent < LOOK_AGAIN_SECONDS
            limit = patience if holder else max(patience, NAMING_SECONDS)
            if not is_watched and time.monotonic() - began >= limit:
                raise EnvironmentBusy(*describe_holder(self.environment, holder))
            time.sleep(0.1)
        if not leftovers:
            self._refuse_leftovers()
        self._enter()

    def retake(self, connection: Connection, epoch: int) -> None:
        """Hold again on a new connection, if nobody else has held it since `epoch`.

        Raises FenceLost when somebody has: what was armed is then theirs to undo.
        """
        self.connection = connection
        self._end_own_session(epoch)
        deadline = time.monotonic() + RELEASE_SECONDS
        while not self._try_lock():
            if time.monotonic() >= deadline:
                raise FenceLost(f"Another run holds {self.environment} now.")
            time.sleep(0.1)
        row = self._one("SELECT epoch FROM environment WHERE name = %s", [self.environment])
        if row["epoch"] != epoch:
            self._unlock()
            raise FenceLost(f"Another run took {self.environment} over.")
        self._enter()

    def check(self) -> str | None:
        """Raise FenceLost unless still the holder; returns who asks for the environment, if anybody."""
        row = self._one(
            "SELECT wanted_by FROM environment WHERE name = %s AND epoch = %s", [self.environment, self.epoch]
        )
        return str(row["wanted_by"]) if row["wanted_by"] else None

    def set_activity(self, activity: str) -> None:
        """Say what the holder is doing: `acting`, or `monitoring` when it may be asked to leave."""
        self._one(
            "UPDATE environment SET activity = %s WHERE name = %s AND epoch = %s RETURNING epoch",
            [activity, self.environment, self.epoch],
        )

    def is_at_rest(self) -> bool:
        """Whether its connection is in no transaction and waits for nothing but, maybe, the end of a beat."""
        with self._beating:
            return self.connection.info.transaction_status == TransactionStatus.IDLE

    def cut_off(self) -> None:
        """End the connection's beats, however the server fares: it is about to be closed.

        Closed under a beat, it would give its socket's number to the next connection, and the beat would read what
        that one is answered.
        """
        with suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(self.connection.fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)
        self._end_beats()

    def release(self) -> None:
        self._end_beats()
        self._one(
            "UPDATE environment SET run_id = NULL, backend_pid = NULL, activity = NULL, wanted_by = NULL"
            " WHERE name = %s AND epoch = %s RETURNING epoch",
            [self.environment, self.epoch],
        )
        self._unlock()

    def _try_lock(self) -> bool:
        return bool(self._one("SELECT pg_try_advisory_lock(%s) AS got", [lock_key(self.environment)])["got"])

    def _unlock(self) -> None:
        self._one("SELECT pg_advisory_unlock(%s)", [lock_key(self.environment)])

    def _enter(self) -> None:
        self._released.clear()
        row = self._one(
            "INSERT INTO environment (name, epoch, run_id, backend_pid, lock_key, process, activity, since, beat_at)"
            " VALUES (%(name)s, 1, %(run)s, pg_backend_pid(), %(key)s, %(process)s, 'acting', now(), now())"
            " ON CONFLICT (name) DO UPDATE SET epoch = environment.epoch + 1, run_id = %(run)s,"
            " backend_pid = pg_backend_pid(), lock_key = %(key)s, process = %(process)s, activity = 'acting',"
            " since = now(), beat_at = now(), wanted_by = NULL RETURNING epoch",
            {
                "name": self.environment,
                "run": self.run_id,
                "key": lock_key(self.environment),
                "process": own_process_name(),
            },
        )
        self.epoch = int(str(row["epoch"]))
        self._heart = threading.Thread(target=self._beat, name="fence-beat", daemon=True)
        self._heart.start()

    def _refuse_leftovers(self) -> None:
        left = self._execute(
            "SELECT run_id, undo FROM armed_undo WHERE environment = %s AND state = 'armed' AND run_id <> %s LIMIT 1",
            [self.environment, self.run_id],
        ).fetchone()
        if left:
            self._unlock()
            raise EnvironmentBusy(
                f"Run {left['run_id']} died in {self.environment} and left {left['undo']} armed.",
                "Recover puts it back first; start it with `backstop recover`. Nothing was changed.",
            )

    def _watch_silent_holder(self) -> float | None:
        """Seconds for which it has been seen without a new beat; None where no holder seems silent."""
        row = self._execute(
            "SELECT beat_at FROM holder WHERE name = %s AND beat_at < now() - make_interval(secs => %s)",
            [self.environment, SILENT_SECONDS],
        ).fetchone()
        if row is None:
            return None
        now = time.monotonic()
        if self._silent_since is None or self._silent_since[0] != row["beat_at"]:
            self._silent_since = (row["beat_at"], now)
        return now - self._silent_since[1]

    def _evict_silent_holder(self) -> None:
        self._execute(
            "SELECT pg_terminate_backend(backend_pid) FROM holder"
            " WHERE name = %s AND beat_at < now() - make_interval(secs => %s)",
            [self.environment, SILENT_SECONDS],
        )

    def _end_own_session(self, epoch: int) -> None:
        """The session that was lost may still stand on the server, with the lock."""
        self._execute(
            "SELECT pg_terminate_backend(backend_pid) FROM holder WHERE name = %s AND epoch = %s",
            [self.environment, epoch],
        )

    def _end_beats(self) -> None:
        self._released.set()
        if self._heart.is_alive():
            self._heart.join()

    def _beat(self) -> None:
        epoch = self.epoch
        while not self._released.wait(BEAT_SECONDS) and epoch == self.epoch:
            try:
                with self._beating:
                    self.connection.execute(
                        "UPDATE environment SET beat_at = now() WHERE name = %s AND epoch = %s",
                        [self.environment, epoch],
                    )
            except psycopg.Error:
                if self.connection.closed:
                    return

    def _one(self, statement: LiteralString, parameters: Sequence[object] | Mapping[str, object]) -> Row:
        row = self._execute(statement, parameters).fetchone()
        if row is None:
            raise FenceLost(f"{self.environment} is no longer this run's: its epoch has moved on.")
        return row

    def _execute(
        self, statement: LiteralString, parameters: Sequence[object] | Mapping[str, object]
    ) -> psycopg.Cursor[Row]:
        try:
            return self.connection.execute(statement, parameters)
        except psycopg.Error as error:
            raise FenceLost(f"The connection to the ledger is gone: {type(error).__name__}.") from None


def read_holder(connection: Connection, environment: str) -> Row | None:
    """Who holds the environment: run_id, procedure, requested_by, since, activity; None when nobody does."""
    return connection.execute(
        "SELECT holder.run_id, procedure, requested_by, since, activity FROM holder"
        " JOIN run ON run.id = holder.run_id WHERE name = %s",
        [environment],
    ).fetchone()


class Abandoned(NamedTuple):
    """An environment where an undo is armed and nobody holds the fence, or only one that fell silent."""

    environment: str
    epoch: int
    process: str
    """That held it last."""


def read_abandoned(connection: Connection) -> list[Abandoned]:
    rows = connection.execute(
        "SELECT DISTINCT name AS environment, epoch, process FROM environment"
        " JOIN armed_undo ON environment = name AND state = 'armed'"
        " WHERE beat_at < now() - make_interval(secs => %s) OR name NOT IN (SELECT name FROM holder)",
        [SILENT_SECONDS],
    )
    return [Abandoned(**row) for row in rows]  # type: ignore[arg-type]


def ask_to_leave(connection: Connection, environment: str, run_id: str) -> bool:
    """Ask a holder that is only monitoring to end by its own undo; False when it is in the middle of an effect."""
    asked = connection.execute(
        "UPDATE environment SET wanted_by = %s WHERE name = %s AND activity = 'monitoring' RETURNING name",
        [run_id, environment],
    ).fetchone()
    return asked is not None


def lock_key(environment: str) -> int:
    """The environment's advisory lock: 64 bits of SHA-256, as PostgreSQL's signed bigint."""
    return int.from_bytes(hashlib.sha256(f"backstop:{environment}".encode()).digest()[:8], signed=True)


def describe_holder(environment: str, holder: Row | None) -> tuple[str, str]:
    """Message and hint for whoever is refused."""
    if holder is None:
        return f"{environment} was just taken by another run.", "Try again in a moment. Nothing was changed."
    return (
        f"{environment} is held by {holder['procedure']} (run {holder['run_id']}), started by"
        f" {holder['requested_by'] or 'nobody named'},"
        f" {holder['activity']} since {holder['since']:%Y-%m-%d %H:%M:%S %Z}.",
        "Wait for it to end, or cancel it in the UI. Nothing was changed.",
    )
