"""The supervisor's part in approvals: a ledger, Prefect's server, runs that have no process, and a clock of the test's.

The ledger is not the one of the stack, where a supervisor of its own looks.
"""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from blocks.approval_policy import Policy
from blocks.ledger.approval_requests import Request, open_request, read_pending
from blocks.ledger.connection import Connection
from deployments.approval_sweep import tend_approvals
from deployments.prefect_api import PrefectApi
from tasks.question import Question
from tests.ledger_database import LedgerDatabase
from tests.prefect_server import prefect_api
from tests.running_stack import RunningStack

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
OVER = NOW + timedelta(hours=24)
POLICY = Policy(needed=1, approvers=[], open_hours=24, break_glass=True)
NOT_IN_TIME = "Nobody decided until 2026-11-22 12:00 UTC. Nothing was changed."


@pytest.fixture
def server(shared_stack: RunningStack) -> Iterator[httpx.Client]:
    with prefect_api(shared_stack) as server:
        yield server


@pytest.fixture
def api(shared_stack: RunningStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrefectApi]:
    for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
        monkeypatch.setenv(name, shared_stack.surroundings[name])
    with closing(PrefectApi()) as api:
        yield api


@pytest.fixture
def connection(ledger: LedgerDatabase) -> Iterator[Connection]:
    with closing(ledger.connect("supervisor")) as connection:
        yield connection


class Asked:
    """A run that waits, in the ledger and in Prefect, which shows it in a state of the test's choice."""

    def __init__(self, server: httpx.Client, ledger: LedgerDatabase, connection: Connection, kind: str) -> None:
        self._server, self._connection = server, connection
        flow = server.post("/flows/", json={"name": "waits"}).raise_for_status().json()["id"]
        wanted = {"flow_id": flow, "state": {"type": kind}}
        self.id = str(server.post("/flow_runs/", json=wanted).raise_for_status().json()["id"])
        ledger.open_run(connection, self.id, "shop")
        question = Question(title="Deploy", fingerprint="plan", facts={}, effects=[])
        self._question = question.model_dump(mode="json")
        self.request = self.ask_at(NOW)

    def ask_at(self, moment: datetime) -> Request:
        """Instead of what was asked before."""
        return open_request(self._connection, self.id, self._question, POLICY, moment)

    def shown(self) -> tuple[str, str]:
        state: dict[str, Any] = self._server.get(f"/flow_runs/{self.id}").raise_for_status().json()["state"]
        return state["type"], state["name"]

    def ending(self) -> tuple[object, object]:
        row = self._connection.execute("SELECT ending, message FROM run WHERE id = %s", [self.id]).fetchone()
        assert row
        return row["ending"], row["message"]

    def approve(self) -> None:
        self._connection.execute("UPDATE approval_request SET state = 'approved' WHERE id = %s", [self.request.id])

    def delete(self) -> None:
        self._server.delete(f"/flow_runs/{self.id}").raise_for_status()


@pytest.fixture
def ask(server: httpx.Client, ledger: LedgerDatabase, connection: Connection) -> Any:
    return lambda kind="PAUSED": Asked(server, ledger, connection, kind)


def test_a_run_that_waits_is_left_waiting(api: PrefectApi, connection: Connection, ask: Any) -> None:
    run = ask()
    tend_approvals(connection, api, OVER - timedelta(seconds=1))
    assert (run.shown(), run.ending()) == (("PAUSED", "Paused"), (None, None))


@pytest.mark.parametrize("kind", ["PAUSED", "SCHEDULED", "PENDING", "RUNNING"])
def test_one_whose_time_is_over_ends_whatever_it_was_set_to(
    api: PrefectApi, connection: Connection, ask: Any, kind: str
) -> None:
    run = ask(kind)
    tend_approvals(connection, api, OVER)
    assert run.ending() == ("Not approved", NOT_IN_TIME)
    assert run.shown() == ("FAILED", "Not approved")
    assert read_pending(connection, run.id) is None


def test_one_that_died_while_it_looked_at_an_answer_has_ended(
    api: PrefectApi, connection: Connection, ledger: LedgerDatabase, ask: Any
) -> None:
    run, later = ask("RUNNING"), datetime.now(UTC) + timedelta(minutes=2)
    run.ask_at(datetime.now(UTC))
    with closing(ledger.connect(run.id)):
        tend_approvals(connection, api, later)
    tend_approvals(connection, api, datetime.now(UTC))
    assert run.ending() == (None, None)
    tend_approvals(connection, api, later)
    assert run.ending()[0] == "Not approved"
    assert run.shown() == ("FAILED", "Not approved")


def test_one_that_looks_at_its_answer_as_its_time_ends_is_left_to_say_so_itself(
    api: PrefectApi, connection: Connection, ledger: LedgerDatabase, ask: Any
) -> None:
    run = ask("RUNNING")
    with closing(ledger.connect(run.id)):
        tend_approvals(connection, api, OVER)
        assert run.ending() == (None, None)


def test_one_that_is_approved_and_still_waits_is_woken(api: PrefectApi, connection: Connection, ask: Any) -> None:
    run = ask()
    run.approve()
    tend_approvals(connection, api, NOW)
    assert (run.shown(), run.ending()) == (("SCHEDULED", "Resuming"), (None, None))


@pytest.mark.parametrize("kind", ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"])
def test_one_that_prefect_shows_as_ended_has_ended(
    api: PrefectApi, connection: Connection, ask: Any, kind: str
) -> None:
    run = ask(kind)
    run.approve()
    tend_approvals(connection, api, NOW)
    told = f"It waited for an approval, and Prefect shows it as {kind.capitalize()}. Nothing was changed."
    assert run.ending() == ("Not approved", told)


def test_one_that_was_deleted_has_ended_and_keeps_nobody_from_the_others(
    api: PrefectApi, connection: Connection, ask: Any
) -> None:
    deleted, other = ask(), ask()
    deleted.delete()
    tend_approvals(connection, api, OVER)
    told = "It waited for an approval, and Prefect shows it as deleted. Nothing was changed."
    assert (deleted.ending(), other.ending()) == (("Not approved", told), ("Not approved", NOT_IN_TIME))


def test_a_server_that_does_not_answer_ends_nothing(
    connection: Connection, ask: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ask()
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    with closing(PrefectApi()) as api:
        tend_approvals(connection, api, OVER)
    assert run.ending() == (None, None)
