"""Runs that need a human, and runs that keep visitors out; and whether a pager and a status page have been told.

The trail says all of it. What recover could not put back stands with the run that it acted for.
"""

from typing import NamedTuple

from blocks.ledger.connection import Connection

PAGED, PAGE_RESOLVED = "page sent", "page resolved"
OPENED, RESOLVED = "incident opened", "incident resolved"
BEGUN, COMPLETED = "maintenance begun", "maintenance completed"


class Call(NamedTuple):
    """A run that somebody outside is told of."""

    run_id: str
    procedure: str
    environment: str
    requested_by: str
    message: str
    """Its ending; empty while it goes on."""
    seconds: float
    """Since it ended, or since it began to keep visitors out."""
    went_wrong: bool = False
    """It has ended, or it died and is put back, and visitors are kept out all the same."""


class Calls(NamedTuple):
    unpaged: list[Call]
    """Needing a human, for a day at the most; nobody was paged for them, and nobody has settled them. Oldest first."""
    settled: list[Call]
    """Somebody was paged for them, they were settled since, and the pager does not know."""
    keeping_out: list[Call]
    """They have stopped writes, or put the service in maintenance, and nobody has taken that back."""
    with_incident: list[Call]
    """What the status page has been told of as an incident, and not yet that it is over."""
    with_maintenance: list[Call]
    """The same, of a maintenance."""


def read_calls(connection: Connection) -> Calls:
    return Calls(
        _read_unpaged(connection),
        _read_settled(connection),
        _read_keeping_out(connection),
        _read_told(connection, OPENED, RESOLVED),
        _read_told(connection, BEGUN, COMPLETED),
    )


def _read_unpaged(connection: Connection) -> list[Call]:
    return _read(
        connection,
        "SELECT id AS run_id, procedure, environment, requested_by, CASE WHEN ending = 'Needs a human' THEN message"
        " ELSE (SELECT string_agg(message, ' ') FROM armed_undo WHERE run_id = run.id AND state = 'failed')"
        " END AS message, extract(epoch FROM now() - ended_at)::float AS seconds FROM run WHERE id IN ("
        " SELECT id FROM run WHERE ending = 'Needs a human' AND ended_at > now() - interval '1 day'"
        " UNION SELECT run_id FROM armed_undo WHERE state = 'failed' AND ended_at > now() - interval '1 day')"
        " AND ending IS NOT NULL AND procedure <> 'recover' AND NOT EXISTS"
        " (SELECT FROM audit WHERE run_id = run.id AND event IN ('page sent', 'settled by hand')) ORDER BY ended_at",
    )


def _read_settled(connection: Connection) -> list[Call]:
    return _read(
        connection,
        "SELECT id AS run_id, procedure, environment, requested_by, coalesce(message, '') AS message,"
        " extract(epoch FROM now() - ended_at)::float AS seconds FROM run"
        " WHERE id IN (SELECT run_id FROM audit WHERE event = 'page sent')"
        " AND EXISTS (SELECT FROM audit WHERE run_id = run.id AND event = 'settled by hand')"
        " AND NOT EXISTS (SELECT FROM audit WHERE run_id = run.id AND event = 'page resolved')",
    )


def _read_keeping_out(connection: Connection) -> list[Call]:
    return _read(
        connection,
        "SELECT run_id, procedure, run.environment, requested_by, coalesce(run.message, '') AS message,"
        " extract(epoch FROM now() - min(armed_at))::float AS seconds, run.ending IS NOT NULL OR EXISTS ("
        " SELECT FROM audit WHERE event = 'effect intended'"
        " AND detail->>'for' = armed_undo.run_id AND audit.run_id <> armed_undo.run_id)"
        " AS went_wrong"
        " FROM armed_undo JOIN run ON run.id = run_id"
        " WHERE state IN ('armed', 'failed') AND undo LIKE '%:resume\\_writes' AND EXISTS (SELECT FROM ("
        " SELECT DISTINCT ON (detail->>'effect' LIKE '% writes') detail->>'effect' AS newest FROM audit"
        " WHERE environment = armed_undo.environment AND event = 'effect done' AND detail->>'for' = armed_undo.run_id"
        " AND detail->>'effect' IN ('enter maintenance', 'leave maintenance', 'stop writes', 'resume writes')"
        " ORDER BY detail->>'effect' LIKE '% writes', sequence DESC) AS of_each"
        " WHERE newest IN ('enter maintenance', 'stop writes'))"
        " GROUP BY run_id, run.id",
    )


def _read_told(connection: Connection, begun: str, ended: str) -> list[Call]:
    return _read(
        connection,
        "SELECT id AS run_id, procedure, environment, requested_by, coalesce(message, '') AS message,"
        " extract(epoch FROM now() - started_at)::float AS seconds FROM run"
        " WHERE id IN (SELECT run_id FROM audit WHERE event = %(begun)s)"
        " AND (SELECT event FROM audit WHERE run_id = run.id AND event IN (%(begun)s, %(ended)s)"
        " ORDER BY sequence DESC LIMIT 1) = %(begun)s",
        begun=begun,
        ended=ended,
    )


def _read(connection: Connection, question: str, **values: str) -> list[Call]:
    return [Call(**row) for row in connection.execute(question, values or None)]  # type: ignore[arg-type]
