"""Transactions that hold tables for long, found without queueing for a lock: whoever queues, others wait behind."""

import time
from collections.abc import Mapping
from typing import LiteralString, NamedTuple

from blocks.postgres.connection import Connection

_LOOK_AGAIN_SECONDS = 0.25
_HELD: LiteralString = """
SELECT l.virtualtransaction, n.nspname || '.' || c.relname, l.pid, a.application_name, a.usename
FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.granted AND l.locktype = 'relation' AND l.pid <> pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (n.nspname || '.' || c.relname = ANY(%(against_all)s)
    OR n.nspname || '.' || c.relname = ANY(%(against_writers)s) AND l.mode NOT IN ('AccessShareLock', 'RowShareLock'))
"""


class LockHolder(NamedTuple):
    """A transaction, as the server names it, and a table that it holds."""

    transaction: str
    table: str
    pid: int
    application: str
    user: str

    def __str__(self) -> str:
        return f"{self.table} is held by {self.application or 'a session'} of {self.user} (process {self.pid})"


def wait_until_free(connection: Connection, tables: Mapping[str, str], seconds: float) -> list[LockHolder]:
    """Until no transaction stays on one of the tables; returns who stayed for all of `seconds`.

    `tables`: name, as public.tasks → what its lock will stop, `everything` or `writes`. Transactions that come and go
    are no hindrance: a lock waits for the one before it only.
    """
    deadline = time.monotonic() + seconds
    before = _read_holders(connection, tables)
    while before:
        time.sleep(_LOOK_AGAIN_SECONDS)
        now = _read_holders(connection, tables)
        stayed = before & now
        if not stayed:
            return []
        if time.monotonic() > deadline:
            return sorted(stayed)
        before = now
    return []


def _read_holders(connection: Connection, tables: Mapping[str, str]) -> set[LockHolder]:
    wanted = {
        "against_all": [table for table, stops in tables.items() if stops == "everything"],
        "against_writers": [table for table, stops in tables.items() if stops == "writes"],
    }
    return {
        LockHolder(str(transaction), str(table), int(str(pid)), str(application or ""), str(user or "unknown"))
        for transaction, table, pid, application, user in connection.execute(_HELD, wanted).fetchall()
    }
