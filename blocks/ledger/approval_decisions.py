"""One person's answer to a request: proven by a one-time code, recorded once, or refused with a reason.

Wrong codes that came through forms slow forms down: anybody who reaches Prefect can type into them. They never slow
down the terminal, where a person has to be on the host.
"""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, get_args

from blocks.approval_policy import APPROVER_NAME
from blocks.errors import NotApproved, Refused, WrongCode
from blocks.ledger.approval_requests import (
    Request,
    Verdict,
    read_decisions,
    read_pending,
    record,
    sealed_parts,
    state_by,
)
from blocks.ledger.approvals_key import seal
from blocks.ledger.approvers import prove
from blocks.ledger.connection import Connection

FREE_GUESSES = 3
"""Wrong codes in one form before it makes people wait."""
FIRST_WAIT = timedelta(seconds=15)
LONGEST_WAIT = timedelta(minutes=15)
GUESSES_AN_HOUR = 30
"""Wrong codes in all forms together; above that no form is listened to."""
LEAST_REASON = 20
"""Characters that letting something through alone takes."""
MOST_REASON = 500


class Answer(NamedTuple):
    verdict: str
    name: str
    code: str
    reason: str
    plan: str
    """The fingerprint that the decision is for."""
    source: Literal["form", "terminal"]


def decide(connection: Connection, request: Request, answer: Answer, now: datetime | None = None) -> Request:
    """Record a person's decision; the request as it stands then.

    Raises WrongCode or Refused, in words for whoever answered, and writes that down. Nothing is decided then.
    """
    at = now or datetime.now(UTC)
    try:
        with connection.transaction():
            return _decide(connection, request, answer, at)
    except Refused as error:
        _refused(connection, request, answer, error, at)
        raise


def closed_until(connection: Connection, request: Request, now: datetime) -> datetime | None:
    """Until when the request's form listens to nobody; None when it does."""
    rows = connection.execute(
        "SELECT request_id = %s AS here, refused_at FROM refused_answer"
        " WHERE source = 'form' AND refused_at > %s ORDER BY refused_at DESC",
        [request.id, now - timedelta(hours=1)],
    ).fetchall()
    times = [(bool(row["here"]), row["refused_at"]) for row in rows]
    here = [at for is_here, at in times if is_here and isinstance(at, datetime)]
    waits = [here[0] + _wait_after(len(here))] if len(here) >= FREE_GUESSES else []
    if len(times) >= GUESSES_AN_HOUR and isinstance(oldest := times[GUESSES_AN_HOUR - 1][1], datetime):
        waits.append(oldest + timedelta(hours=1))
    latest = max(waits, default=now)
    return latest if latest > now else None


def _wait_after(guesses: int) -> timedelta:
    doublings: int = min(guesses - FREE_GUESSES, 10)
    return min(FIRST_WAIT * (1 << doublings), LONGEST_WAIT)


def _decide(connection: Connection, request: Request, answer: Answer, at: datetime) -> Request:
    connection.execute("SELECT FROM approval_request WHERE id = %s FOR UPDATE", [request.id])
    current = read_pending(connection, request.run_id)
    if current is None or current.id != request.id or current.state != "open" or current.is_over(at):
        raise NotApproved("Nothing can be decided here any more.", "It was settled, or its time is over.")
    if answer.source == "form" and (until := closed_until(connection, request, at)):
        raise Refused(
            f"Too many wrong codes were given in forms: this one listens again at {until:%H:%M:%S} UTC.",
            f"Or decide where Backstop runs: `backstop approve {request.run_id} --as NAME`.",
        )
    name, verdict = answer.name.strip().lower(), _checked_verdict(request, answer)
    _require_may(connection, request, name, verdict)
    prove(connection, name, answer.code, at.timestamp())
    connection.execute(
        "INSERT INTO approval_decision (request_id, approver, verdict, reason, source, decided_at, seal)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        [
            request.id,
            name,
            verdict,
            answer.reason,
            answer.source,
            at,
            seal(*sealed_parts(request, name, verdict)),
        ],
    )
    record(
        connection,
        request,
        "decision",
        name,
        approver=name,
        verdict=verdict,
        reason=answer.reason,
        source=answer.source,
    )
    state = state_by(request, read_decisions(connection, request))
    connection.execute("UPDATE approval_request SET state = %s WHERE id = %s", [state, request.id])
    return current.model_copy(update={"state": state})


def _checked_verdict(request: Request, answer: Answer) -> Verdict:
    if answer.plan != request.fingerprint:
        raise Refused(f"The decision names plan {answer.plan[:16]!r}; asked is about {request.fingerprint}.")
    if len(answer.reason) > MOST_REASON:
        raise Refused(f"The reason has {len(answer.reason)} characters; {MOST_REASON} are allowed.")
    for verdict in get_args(Verdict):
        if answer.verdict != verdict:
            continue
        if verdict == "break glass":
            _require_glass_may_break(request, answer.reason)
        if verdict == "approve" and request.frozen:
            raise Refused(f"{request.environment} is {request.frozen}. Only breaking the glass lets it through.")
        found: Verdict = verdict
        return found
    raise Refused(f"The decision was {answer.verdict[:40]!r}; allowed: {', '.join(get_args(Verdict))}.")


def _require_glass_may_break(request: Request, reason: str) -> None:
    if not request.break_glass:
        raise Refused(f"In {request.environment} nobody lets {request.procedure} through alone.")
    if len(reason.strip()) < LEAST_REASON:
        raise Refused(f"Whoever lets something through alone says why, in {LEAST_REASON} characters at least.")


def _require_may(connection: Connection, request: Request, name: str, verdict: Verdict) -> None:
    if not APPROVER_NAME.fullmatch(name) or (request.approvers and name not in request.approvers):
        raise Refused(f"{name[:63]!r} is not asked here; asked are: {', '.join(request.approvers) or 'the enrolled'}.")
    if name == request.requested_by.strip().lower() and verdict == "approve":
        raise Refused(f"{name} asked for this run: somebody else has to approve it.")
    if any(decision.approver == name for decision in read_decisions(connection, request)):
        raise Refused(f"{name} has decided already: another person is needed.")


def _refused(connection: Connection, request: Request, answer: Answer, error: Refused, at: datetime) -> None:
    with connection.transaction():
        if isinstance(error, WrongCode):
            connection.execute(
                "INSERT INTO refused_answer (request_id, source, refused_at) VALUES (%s, %s, %s)",
                [request.id, answer.source, at],
            )
        elif answer.source == "form":
            _spend(connection, answer, at)
        name = answer.name.strip().lower()[:63]
        record(connection, request, "answer refused", name, source=answer.source, why=error.message)


def _spend(connection: Connection, answer: Answer, at: datetime) -> None:
    """Prefect kept the code where others may have read it: it counts in no other form either."""
    with suppress(Refused):
        prove(connection, answer.name.strip().lower(), answer.code, at.timestamp())
