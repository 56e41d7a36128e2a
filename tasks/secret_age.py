"""How old the secrets of an environment are, as the trail tells it."""

from datetime import timedelta

from blocks.ledger.connection import Connection

ROTATED = "secret rotated"
"""Event of the trail. It counts once its run was done."""


def read_ages(connection: Connection, environment: str) -> dict[str, timedelta]:
    """Name → time since it was last rotated. One that never was is left out."""
    rows = connection.execute(_AGES, {"environment": environment, "event": ROTATED}).fetchall()
    return {str(row["secret"]): row["age"] for row in rows if isinstance(row["age"], timedelta)}


_AGES = """
SELECT detail->>'secret' AS secret, now() - max(at::timestamptz) AS age
FROM audit JOIN run ON run.id = run_id
WHERE audit.environment = %(environment)s AND event = %(event)s AND ending = 'Done'
GROUP BY 1
"""
