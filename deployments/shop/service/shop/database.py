"""A few connections to PostgreSQL, handed out one at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row

from shop.release import VERSION

SIZE = 5
TURN_SECONDS = 3
STATEMENT_MILLISECONDS = 5000


class Database:
    """Connections are opened on demand and each statement commits by itself."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._slots: asyncio.LifoQueue[AsyncConnection[DictRow] | None] = asyncio.LifoQueue()
        for _ in range(SIZE):
            self._slots.put_nowait(None)

    async def fetch_all(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """Raises psycopg.OperationalError or TimeoutError when the database is not there."""
        async with self._connection() as connection:
            cursor = await connection.execute(statement.encode(), values)
            return await cursor.fetchall() if cursor.description else []

    async def fetch_one(self, statement: str, *values: object) -> dict[str, Any] | None:
        rows = await self.fetch_all(statement, *values)
        return rows[0] if rows else None

    async def close(self) -> None:
        while not self._slots.empty():
            if connection := self._slots.get_nowait():
                await connection.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[AsyncConnection[DictRow]]:
        async with asyncio.timeout(TURN_SECONDS):
            connection = await self._slots.get()
        try:
            if connection is None or not await _is_alive(connection):
                connection = None
                connection = await self._connect()
            yield connection
        finally:
            self._slots.put_nowait(await _reusable(connection))

    async def _connect(self) -> AsyncConnection[DictRow]:
        return await AsyncConnection.connect(
            self._url,
            autocommit=True,
            row_factory=dict_row,
            connect_timeout=2,
            client_encoding="utf8",
            options=f"-c statement_timeout={STATEMENT_MILLISECONDS}",
            fallback_application_name=f"shop-{VERSION}",
        )


async def _is_alive(connection: AsyncConnection[DictRow]) -> bool:
    """Asked before every use: a restarted or switched database then costs no visitor an error."""
    try:
        await connection.execute("select 1")
    except psycopg.OperationalError:
        await connection.close()
        return False
    return True


async def _reusable(connection: AsyncConnection[DictRow] | None) -> AsyncConnection[DictRow] | None:
    """None in place of a connection that broke or was left in the middle of a statement."""
    if connection is None or connection.closed:
        return None
    if connection.info.transaction_status is not TransactionStatus.IDLE:
        await connection.close()
        return None
    return connection
