"""A pager and a status page follow what stands in the ledger: the supervisor's part.

No run does that. One that died could page nobody, nor take an incident back, and one that waited for a pager would hold
its environment meanwhile. What could not be sent is sent at a later look, and sending it twice is sending it once.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import NamedTuple

from pydantic import BaseModel, ValidationError

from blocks.errors import BackstopError
from blocks.ledger import trail
from blocks.ledger.calls_for_help import (
    BEGUN,
    COMPLETED,
    OPENED,
    PAGE_RESOLVED,
    PAGED,
    RESOLVED,
    Call,
    Calls,
    read_calls,
)
from blocks.ledger.connection import Connection
from blocks.pager import PagerDuty
from blocks.status_page import Statuspage
from deployments.prefect_api import PrefectApi

PLANNED = {"deploy", "migrate-with-backup"}
"""Procedures that keep visitors out for a maintenance. All others that do answer something that has happened."""
REPEAT_SECONDS = 60.0
"""What could not be sent is sent again after this long."""

log = logging.getLogger("supervisor")


class Outside(BaseModel):
    """Of an environment's notices. Prefect, which keeps them, takes a second to import, and is not needed for these."""

    pager: PagerDuty | None = None
    status_page: Statuspage | None = None


class _Due(NamedTuple):
    call: Call
    event: str
    """In the trail, once it is sent."""
    send: Callable[[], object]


class AlertSweep:
    def __init__(self) -> None:
        self._failed: dict[tuple[str, str], tuple[float, str]] = {}
        """Run and event → when it was tried last, and why it could not be sent."""

    def sweep(self, connection: Connection, now: float) -> None:
        """Look once, and send what is due; `now` in seconds from time.monotonic()."""
        calls = read_calls(connection)
        if not any(calls):
            return
        with closing(PrefectApi()) as api:
            outside = read_outside(api)
            self.send(connection, calls, outside, api.link, now)

    def send(
        self,
        connection: Connection,
        calls: Calls,
        outside: Mapping[str, Outside],
        link: Callable[[str], str],
        now: float,
    ) -> None:
        """Whatever is due to those `outside`, by environment. What cannot be sent keeps nothing else from it."""
        for due in [*_pages(calls, outside, link), *_incidents(calls, outside), *_maintenances(calls, outside)]:
            key = (due.call.run_id, due.event)
            tried, told = self._failed.get(key, (-math.inf, ""))
            if now - tried < REPEAT_SECONDS:
                continue
            try:
                due.send()
            except BackstopError as error:
                self._failed[key] = (now, error.message)
                log.warning("%s of run %s: %s", due.event, due.call.run_id, error)
                if error.message != told:
                    _record(connection, due.call, "alert failed", what=due.event, reason=error.message)
            else:
                _record(connection, due.call, due.event)


def read_outside(api: PrefectApi) -> dict[str, Outside]:
    """Environment → its pager and status page, as they were applied."""
    found = {}
    for document in api.read_blocks("environment"):
        try:
            found[str(document["name"])] = Outside.model_validate(document["data"].get("notices") or {})
        except ValidationError as error:
            log.warning("The notices of %s cannot be read: %s mistakes", document["name"], error.error_count())
    return found


def _pages(calls: Calls, outside: Mapping[str, Outside], link: Callable[[str], str]) -> Iterator[_Due]:
    for call in calls.unpaged:
        if pager := _of(call, outside).pager:
            yield _Due(call, PAGED, _page(pager, call, link(call.run_id)))
    for call in calls.settled:
        if pager := _of(call, outside).pager:
            yield _Due(call, PAGE_RESOLVED, _resolve(pager, call))


def _incidents(calls: Calls, outside: Mapping[str, Outside]) -> Iterator[_Due]:
    wanted = [call for call in calls.keeping_out if not _is_maintenance(call)]
    for call, page in _missing(wanted, calls.with_incident, outside):
        yield _Due(call, OPENED, partial(page.open_incident, call.run_id))
    for call, page in _over(wanted, calls.with_incident, outside):
        yield _Due(call, RESOLVED, partial(page.resolve_incident, call.run_id))


def _maintenances(calls: Calls, outside: Mapping[str, Outside]) -> Iterator[_Due]:
    """One that goes wrong is an incident from then on."""
    wanted = [call for call in calls.keeping_out if _is_maintenance(call)]
    kept_out = {call.run_id for call in calls.keeping_out}
    for call, page in _missing(wanted, calls.with_maintenance, outside):
        yield _Due(call, BEGUN, partial(page.begin_maintenance, call.run_id))
    for call, page in _over(wanted, calls.with_maintenance, outside):
        as_planned = call.run_id not in kept_out
        yield _Due(call, COMPLETED, partial(page.complete_maintenance, call.run_id, as_planned))


def _is_maintenance(call: Call) -> bool:
    return call.procedure in PLANNED and not call.went_wrong


def _missing(wanted: list[Call], told: list[Call], outside: Mapping[str, Outside]) -> Iterator[tuple[Call, Statuspage]]:
    """What the page has not been told of, and has lasted for long enough."""
    known = {call.run_id for call in told}
    for call in wanted:
        page = _of(call, outside).status_page
        if page and call.run_id not in known and call.seconds >= page.after_seconds:
            yield call, page


def _over(wanted: list[Call], told: list[Call], outside: Mapping[str, Outside]) -> Iterator[tuple[Call, Statuspage]]:
    """What the page has been told of, and is not so any more."""
    still = {call.run_id for call in wanted}
    for call in told:
        page = _of(call, outside).status_page
        if page and call.run_id not in still:
            yield call, page


def _of(call: Call, outside: Mapping[str, Outside]) -> Outside:
    return outside.get(call.environment, Outside())


def _page(pager: PagerDuty, call: Call, link: str) -> Callable[[], object]:
    summary = f"{call.procedure} in {call.environment} needs a human: {call.message}"
    then = f"backstop recover --settled {call.run_id}"
    details = {"run": call.run_id, "asked for by": call.requested_by, "once it is put right": then}
    return lambda: pager.page(_key(call), summary, call.environment, details, link)


def _resolve(pager: PagerDuty, call: Call) -> Callable[[], object]:
    return lambda: pager.resolve(_key(call))


def _key(call: Call) -> str:
    return f"backstop/{call.environment}/{call.run_id}"


def _record(connection: Connection, call: Call, event: str, **detail: object) -> None:
    trail.append(connection, event, run_id=call.run_id, environment=call.environment, actor="supervisor", detail=detail)
