"""Rotations of secrets that are under way: what their way back needs, the old values among it, encrypted."""

import json
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb

from blocks.ledger.approvals_key import decrypt, encrypt
from blocks.ledger.connection import Connection
from blocks.sinks.interface import Values

Secrets = dict[str, Values]
"""Name of a secret → what it consists of."""


class OpenRotation(NamedTuple):
    run_id: str
    before: dict[str, Any]
    sealed: str

    def unseal(self) -> Secrets:
        """The old values. Raises Refused without the key that they were sealed with."""
        opened: Secrets = json.loads(decrypt(self.sealed, _context(self.run_id)))
        return opened


def keep(connection: Connection, run_id: str, environment: str, before: dict[str, Any], old: Secrets) -> None:
    """Durable when it returns. Raises Refused without the worker's key."""
    connection.execute(
        "INSERT INTO rotation (run_id, environment, before, sealed) VALUES (%s, %s, %s, %s)",
        [run_id, environment, Jsonb(before), encrypt(json.dumps(old), _context(run_id))],
    )


def read_open(connection: Connection, environment: str, run_id: str = "") -> OpenRotation | None:
    """That of the run; else the newest of the environment whose way back is not finished. None when there is none."""
    row = connection.execute(_OPEN, {"environment": environment, "run": run_id}).fetchone()
    return OpenRotation(**row) if row else None  # type: ignore[arg-type]


def forget(connection: Connection, run_id: str) -> None:
    """It came to its end: nothing of it is kept."""
    connection.execute("DELETE FROM rotation WHERE run_id = %s", [run_id])


def forget_ended(connection: Connection, environment: str) -> None:
    """The same for those of the environment that died after their end. Whoever calls this holds the environment."""
    connection.execute(_FORGET_ENDED, [environment])


def _context(run_id: str) -> str:
    return f"the rotation of run {run_id}"


_OPEN = """
SELECT run_id, before, sealed FROM rotation WHERE environment = %(environment)s AND (
  run_id = %(run)s
  OR %(run)s = '' AND EXISTS (SELECT FROM armed_undo WHERE armed_undo.run_id = rotation.run_id AND state = 'failed'))
ORDER BY opened_at DESC LIMIT 1
"""

_FORGET_ENDED = """
DELETE FROM rotation WHERE environment = %s
AND NOT EXISTS (SELECT FROM armed_undo WHERE armed_undo.run_id = rotation.run_id AND state IN ('armed', 'failed'))
"""
