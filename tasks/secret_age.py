"""How old the secrets of an environment are, as the trail tells it."""

from datetime import datetime, timedelta

from blocks.ledger.connection import Connection

ROTATED = "secret rotated"
"""Event of the trail. It counts once its run was done."""
PREVIOUS_RETIRED = "previous secret retired"
NEXT_MADE_KNOWN = "next secret made known"
"""The same of these."""


def read_ages(connection: Connection, environment: str) -> dict[str, timedelta]:
    """Name → time since it was last rotated. One that never was is left out."""
    rows = connection.execute(_AGES, {"environment": environment, "event": ROTATED}).fetchall()
    return {str(row["secret"]): row["age"] for row in rows if isinstance(row["age"], timedelta)}


def read_previous(connection: Connection, environment: str) -> dict[str, datetime]:
    """Name → until when the one of before its last rotation is needed; only those of which one was not retired yet."""
    events = [ROTATED, PREVIOUS_RETIRED]
    rows = connection.execute(_PREVIOUS, {"environment": environment, "events": events}).fetchall()
    return {str(row["secret"]): row["until"] for row in rows if isinstance(row["until"], datetime)}


def was_rotated_since(connection: Connection, environment: str, moment: datetime, but_by: str) -> bool:
    """Whether any was, by another run than this one."""
    since = {"environment": environment, "event": ROTATED, "moment": moment, "run": but_by}
    return connection.execute(_SINCE, since).fetchone() is not None


_AGES = """
SELECT detail->>'secret' AS secret, now() - max(at::timestamptz) AS age
FROM audit JOIN run ON run.id = run_id
WHERE audit.environment = %(environment)s AND event = %(event)s AND ending = 'Done'
GROUP BY 1
"""

_PREVIOUS = """
SELECT DISTINCT ON (detail->>'secret') detail->>'secret' AS secret,
       at::timestamptz + make_interval(secs => (detail->>'previous_seconds')::float) AS until
FROM audit JOIN run ON run.id = run_id
WHERE audit.environment = %(environment)s AND event = ANY(%(events)s) AND ending = 'Done'
ORDER BY detail->>'secret', sequence DESC
"""

_SINCE = """
SELECT FROM audit JOIN run ON run.id = run_id
WHERE audit.environment = %(environment)s AND event = %(event)s AND ending = 'Done'
  AND at::timestamptz > %(moment)s AND run_id <> %(run)s LIMIT 1
"""
