"""What happens to a run that waits for an approval while no process of it lives: the supervisor's part.

Its time may be over, somebody may have ended it in Prefect, or a decision was made and nobody woke it.
"""

import logging
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from blocks.errors import BackstopError
from blocks.ledger import trail
from blocks.ledger.approval_requests import Request, State, end_unapproved, read_all_pending
from blocks.ledger.connection import Connection, has_session
from deployments.prefect_api import FINAL, PrefectApi
from deployments.stack.refused_answers import FOLDER, take_refusals

_BEGINS_WITHIN = timedelta(minutes=1)
"""A run that Prefect calls running has connected to the ledger by then."""

log = logging.getLogger("supervisor")


def tend_approvals(connection: Connection, api: PrefectApi, now: datetime | None = None) -> None:
    """Look once at every run that waits; one that cannot be looked at keeps nobody from the others."""
    now = now or datetime.now(UTC)
    _record_refusals(connection)
    for request in read_all_pending(connection):
        try:
            _tend(connection, api, request, now)
        except BackstopError as error:
            log.warning("Run %s of %s waits unattended: %s", request.run_id, request.environment, error)


def _record_refusals(connection: Connection) -> None:
    """Those of runs that the ledger knows; other runs wait for nobody."""
    state = os.environ.get("BACKSTOP_STATE")
    for run_id, times in take_refusals(Path(state) / FOLDER) if state else ():
        run = connection.execute("SELECT environment FROM run WHERE id = %s", [run_id]).fetchone()
        if run:
            environment = str(run["environment"])
            detail = {"times": times, "why": "Prefect's server refused what was sent; it came to no flow."}
            trail.append(
                connection, "resume refused", run_id=run_id, environment=environment, actor="unknown", detail=detail
            )


def _tend(connection: Connection, api: PrefectApi, request: Request, now: datetime) -> None:
    state = api.read_state(request.run_id)
    if state["type"] in FINAL:
        message = f"It waited for an approval, and Prefect shows it as {state['name']}. Nothing was changed."
        _end(connection, request, "withdrawn", message)
    elif request.is_over(now) and not has_session(connection, request.run_id):
        message = f"Nobody decided until {request.expires_at:%Y-%m-%d %H:%M} UTC. Nothing was changed."
        if _end(connection, request, "expired", message):
            api.end_run(request.run_id, "Not approved", message)
    elif request.state != "open" and state["type"] == "PAUSED":
        api.wake(request.run_id)
    elif _is_dead(connection, request, state, now):
        message = "Its process died while it looked at an answer. Nothing was changed: start it again."
        if _end(connection, request, "withdrawn", message):
            api.end_run(request.run_id, "Not approved", message)


def _is_dead(connection: Connection, request: Request, state: dict[str, Any], now: datetime) -> bool:
    """Prefect believes that it runs, for as long as nobody tells otherwise."""
    if state["type"] != "RUNNING" or has_session(connection, request.run_id):
        return False
    return now - datetime.fromisoformat(state["timestamp"]) > _BEGINS_WITHIN


def _end(connection: Connection, request: Request, state: State, message: str) -> bool:
    ended = end_unapproved(connection, request, state, message)
    if ended:
        log.info("Run %s of %s: %s", request.run_id, request.environment, message)
    return ended
