"""The one whom the demo asks: enrolled for as long as it lasts. A wrong code first, then the right one."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from pyotp import TOTP

from blocks.errors import BackstopError
from blocks.ledger import approvers
from blocks.ledger.approval_requests import Request, read_pending
from blocks.ledger.connection import Connection, connect
from blocks.one_time_code import new_seed
from deployments.prefect_api import PrefectApi

NAME = "demo-approver"
WAIT_SECONDS = 60
_WRONG = "000000"


class Approver:
    def __init__(self, seed: str) -> None:
        self._seed = seed

    def answer(self, api: PrefectApi, run_id: str) -> None:
        """In the background: what a person would type into the run's form, twice."""
        Thread(target=self._answer, args=(api, run_id), name="approver", daemon=True).start()

    def _answer(self, api: PrefectApi, run_id: str) -> None:
        with connect("demo") as connection:
            for form in (1, 2):
                request = _wait_for_form(connection, api, run_id, form)
                code = _WRONG if form == 1 else TOTP(self._seed).now()
                answer = {"plan": request.fingerprint, "decision": "approve", "name": NAME, "code": code}
                api.answer(run_id, {**answer, "reason": "as the demo tells it"})


@contextmanager
def enrolled() -> Iterator[Approver | None]:
    """An approver, who is gone afterwards. None where people are enrolled: it is them who are asked then."""
    seed = new_seed()
    with connect("demo") as connection:
        if [found.name for found in approvers.read_approvers(connection)] == [NAME]:
            _remove(connection)  # left behind by a demo that was killed
        if approvers.read_approvers(connection):
            yield None
            return
        approvers.add(connection, NAME, seed, asked_by="demo")
    try:
        yield Approver(seed)
    finally:
        with connect("demo") as connection:
            _remove(connection)


def _remove(connection: Connection) -> None:
    approvers.remove(connection, NAME, approved_by=NAME, asked_by="demo")


def _wait_for_form(connection: Connection, api: PrefectApi, run_id: str, form: int) -> Request:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        request = read_pending(connection, run_id)
        if request and request.forms == form and api.read_state(run_id)["type"] == "PAUSED":
            return request
        time.sleep(0.2)
    raise BackstopError(f"The run did not show its form within {WAIT_SECONDS} s.")
