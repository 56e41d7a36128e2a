"""Plans that were put to approvers, and what those decided. The ledger alone says whether a plan is approved.

Pending, as long as its run has not gone on from there or ended:

open ── enough people agree ──▶ approved ── its run goes on ──▶ used
  ├──── one of them rejects ──▶ rejected
  ├──── nobody did in time ───▶ expired
  ├──── its run was ended ────▶ withdrawn
  └──── the plan changed ─────▶ superseded
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, LiteralString

from psycopg.types.json import Json
from pydantic import BaseModel

from blocks.approval_policy import Policy
from blocks.errors import GoesOnElsewhere, NotApproved
from blocks.ledger import trail
from blocks.ledger.approvals_key import is_sealed
from blocks.ledger.connection import Connection
from blocks.ledger.storable import storable

State = Literal["open", "approved", "rejected", "expired", "withdrawn", "superseded", "used"]
Verdict = Literal["approve", "reject", "break glass"]
_REQUEST: LiteralString = """
    SELECT request.*, run.procedure, run.environment, run.requested_by
    FROM approval_request request JOIN run ON run.id = run_id
"""


class Request(BaseModel):
    """One plan of one run, and who is asked about it."""

    id: int
    run_id: str
    procedure: str
    environment: str
    requested_by: str
    """Claimed, not proven."""
    fingerprint: str
    question: dict[str, Any]
    needed: int
    approvers: list[str]
    """Empty: whoever is enrolled."""
    break_glass: bool
    frozen: str
    """Until when and why one of them has to break the glass; empty when agreeing is enough."""
    asked_at: datetime
    expires_at: datetime
    forms: int
    """How often its form was shown. The one that is open now bears this number."""
    state: State

    @property
    def policy(self) -> tuple[int, list[str], bool, str]:
        return self.needed, self.approvers, self.break_glass, self.frozen

    def is_over(self, now: datetime | None = None) -> bool:
        return (now or datetime.now(UTC)) >= self.expires_at


class Decision(BaseModel):
    """What one approver said to one request."""

    approver: str
    verdict: Verdict
    reason: str
    source: Literal["form", "terminal"]
    decided_at: datetime

    def __str__(self) -> str:
        told = {"approve": "approved by", "reject": "rejected by", "break glass": "let through alone by"}
        return f"{told[self.verdict]} {self.approver}{f': {self.reason}' if self.reason else ''}"


def open_request(
    connection: Connection,
    run_id: str,
    question: Mapping[str, Any],
    policy: Policy,
    now: datetime | None = None,
) -> Request:
    """Ask about a plan; one that the run asked about before is superseded. It stays open for hours, not days of a
    calendar: no change of the clocks makes it longer or shorter.
    """
    asked_at = now or datetime.now(UTC)
    with connection.transaction():
        connection.execute(
            "UPDATE approval_request SET state = 'superseded', closed_at = %s WHERE run_id = %s AND closed_at IS NULL",
            [asked_at, run_id],
        )
        connection.execute(
            "INSERT INTO approval_request"
            " (run_id, fingerprint, question, needed, approvers, break_glass, frozen, asked_at, expires_at)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                run_id,
                question["fingerprint"],
                Json(storable(question)),
                policy.needed,
                policy.approvers,
                policy.break_glass,
                policy.frozen,
                asked_at,
                asked_at + timedelta(hours=policy.open_hours),
            ],
        )
        (request,) = _read(connection, run_id)
        until = f"{request.expires_at:%Y-%m-%d %H:%M} UTC"
        record(
            connection,
            request,
            "approval asked",
            request.requested_by,
            needed=policy.needed,
            of=policy.approvers,
            until=until,
        )
    return request


def read_pending(connection: Connection, run_id: str) -> Request | None:
    """The request that the run has to go on from; None when it asked about nothing, or that is settled."""
    return next(iter(_read(connection, run_id)), None)


def _read(connection: Connection, run_id: str) -> list[Request]:
    rows = connection.execute(_REQUEST + "WHERE run_id = %s AND closed_at IS NULL", [run_id])
    return [Request.model_validate(row) for row in rows]


def read_all_pending(connection: Connection) -> list[Request]:
    """Of all environments, oldest first."""
    rows = connection.execute(_REQUEST + "WHERE closed_at IS NULL AND ending IS NULL ORDER BY request.id")
    return [Request.model_validate(row) for row in rows]


def read_lately_pending(connection: Connection, since: datetime) -> list[Request]:
    """Those that wait, and those that were settled or given up since then."""
    rows = connection.execute(_REQUEST + "WHERE closed_at IS NULL OR closed_at >= %s ORDER BY request.id", [since])
    return [Request.model_validate(row) for row in rows]


def read_decisions(connection: Connection, request: Request) -> list[Decision]:
    """Those that count: sealed for this request and this plan, oldest first. Others are as if they were not there."""
    rows = connection.execute(
        "SELECT * FROM approval_decision WHERE request_id = %s ORDER BY decided_at", [request.id]
    ).fetchall()
    return [
        Decision.model_validate(row)
        for row in rows
        if is_sealed(str(row["seal"]), *sealed_parts(request, str(row["approver"]), str(row["verdict"])))
    ]


def sealed_parts(request: Request, approver: str, verdict: str) -> tuple[str, ...]:
    """What a decision is bound to."""
    return (str(request.id), request.run_id, request.environment, request.fingerprint, approver, verdict)


def state_by(request: Request, decisions: list[Decision]) -> State:
    """What these decisions make of the request."""
    verdicts = [decision.verdict for decision in decisions]
    if "reject" in verdicts:
        return "rejected"
    agreed = verdicts.count("approve") >= request.needed and not request.frozen
    return "approved" if "break glass" in verdicts or agreed else "open"


def next_form(connection: Connection, request: Request) -> Request:
    """Another form is about to be shown: its number, as part of the request."""
    connection.execute("UPDATE approval_request SET forms = forms + 1 WHERE id = %s", [request.id])
    return request.model_copy(update={"forms": request.forms + 1})


def take(connection: Connection, request: Request, now: datetime | None = None) -> list[Decision]:
    """The run goes on with it, once: its decisions. Raises NotApproved when they do not suffice (any more),
    GoesOnElsewhere when another process of the run took it.
    """
    with connection.transaction():
        row = connection.execute(
            "SELECT FROM approval_request WHERE id = %s AND state = 'approved' AND closed_at IS NULL FOR UPDATE",
            [request.id],
        ).fetchone()
        if row is None:
            raise GoesOnElsewhere("Another process of this run goes on with its approval already.")
        decisions = read_decisions(connection, request)
        if request.is_over(now) or state_by(request, decisions) != "approved":
            raise NotApproved("The approval is not valid any more.", "Start again. Nothing was changed.")
        close(connection, request, "used", approvals=[str(decision) for decision in decisions])
    return decisions


def close(connection: Connection, request: Request, state: State, **detail: object) -> bool:
    """Bring a pending request to its end; False when somebody else did."""
    with connection.transaction():
        closed = connection.execute(
            "UPDATE approval_request SET state = %s, closed_at = now()"
            " WHERE id = %s AND closed_at IS NULL RETURNING id",
            [state, request.id],
        ).fetchone()
        if closed:
            record(connection, request, f"approval {state}", request.requested_by, **detail)
    return closed is not None


def end_unapproved(connection: Connection, request: Request, state: State, message: str) -> bool:
    """Close a request whose run has no process, and write the run's ending; False when somebody else did."""
    with connection.transaction():
        if not close(connection, request, state, message=message):
            return False
        connection.execute(
            "UPDATE run SET ended_at = now(), ending = 'Not approved', message = %s WHERE id = %s AND ending IS NULL",
            [message, request.run_id],
        )
    return True


def record(connection: Connection, request: Request, event: str, actor: str, **detail: object) -> None:
    """An event of the request's run, in the trail."""
    trail.append(
        connection,
        event,
        run_id=request.run_id,
        environment=request.environment,
        actor=actor,
        detail={"request": request.id, "fingerprint": request.fingerprint, **detail},
    )
