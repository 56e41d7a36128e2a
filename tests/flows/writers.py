"""An application's connections, all writing at once, which remember every write that was acknowledged, and where."""

import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import psycopg

WRITE = (
    "INSERT INTO tasks (user_id, title) SELECT id, %s FROM users LIMIT 1"
    " RETURNING (SELECT oid FROM pg_database WHERE datname = current_database())"
)
BETWEEN_SECONDS = 0.1


class Writers:
    """A context manager: so many connections write until it ends, and connect again when one is lost."""

    def __init__(self, url: str, count: int) -> None:
        self.errors = 0
        self._url = url
        self._count = count
        self._stop = threading.Event()
        self._written: list[tuple[int, int, str]] = []
        """Who, the oid of the database, what: in the order of acknowledgement."""
        self._pool = ThreadPoolExecutor(count)

    def acknowledged(self, database: int) -> set[str]:
        """What was written to the database of this oid."""
        return {title for _, oid, title in list(self._written) if oid == database}

    def busy_in(self, database: int) -> set[int]:
        """Who has written to it."""
        return {writer for writer, oid, _ in list(self._written) if oid == database}

    @property
    def databases(self) -> set[int]:
        return {oid for _, oid, _ in self._written}

    def never_returned_to(self, database: int) -> bool:
        """Whether nobody wrote to it once he had written to another one."""
        orders = [[oid == database for who, oid, _ in self._written if who == one] for one in range(self._count)]
        return all(order == sorted(order, reverse=True) for order in orders)

    def __enter__(self) -> Self:
        for writer in range(self._count):
            self._pool.submit(self._write_on, writer)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._pool.shutdown()

    def _write_on(self, writer: int) -> None:
        while not self._stop.is_set():
            try:
                with psycopg.connect(
                    self._url, autocommit=True, connect_timeout=5, prepare_threshold=None
                ) as connection:
                    while not self._stop.wait(BETWEEN_SECONDS):
                        self._write(connection, writer)
            except psycopg.Error:
                self.errors += 1
                self._stop.wait(BETWEEN_SECONDS)

    def _write(self, connection: "psycopg.Connection[tuple[object, ...]]", writer: int) -> None:
        title = secrets.token_hex(8)
        row = connection.execute(WRITE, [title]).fetchone()
        assert row
        self._written.append((writer, int(str(row[0])), title))
