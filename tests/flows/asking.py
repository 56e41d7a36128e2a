"""Runs that wait for an approval, and whatever may be sent to Prefect's API about them."""

from dataclasses import dataclass
from typing import Any

import httpx
import psycopg

from tests.blocks.platforms.waiting import eventually
from tests.flows.people import Person
from tests.flows.records import Records
from tests.prefect_server import FINAL, ask_for_run
from tests.running_stack import RunningStack

WAITS = 60
DEPLOY = {"version": "v1.1.0", "requested_by": "a test"}


@dataclass(frozen=True)
class Waiting:
    """A run, seen through Prefect's API and the ledger."""

    stack: RunningStack
    api: httpx.Client
    id: str

    @property
    def records(self) -> Records:
        return Records(self.stack)

    @property
    def state(self) -> dict[str, Any]:
        return dict(self.api.get(f"/flow_runs/{self.id}").raise_for_status().json()["state"])

    @property
    def form(self) -> str:
        """Prefect's key of the form that is open; empty while none is."""
        state = self.state
        return str(state["state_details"]["pause_key"]) if state["type"] == "PAUSED" else ""

    @property
    def response_key(self) -> str:
        return f"suspended-{self.form}-response"

    @property
    def plan(self) -> str:
        return str(self.records.events(self.id, "approval asked")[-1]["fingerprint"])

    def wait_for_form(self, after: str = "") -> str:
        """Until it waits with another form than that."""
        eventually(lambda: self.form not in ("", after) or self.state["type"] in FINAL, WAITS)
        assert self.state["type"] not in FINAL, self.state["message"]
        return self.form

    def fill_in(self, person: Person, code: object = "", **others: object) -> dict[str, object]:
        return {"plan": self.plan, "decision": "approve", "name": person.name, "code": code or person.code(), **others}

    def resume(self, run_input: object = None) -> dict[str, Any]:
        """What the server says to the button: status ACCEPT, REJECT or ABORT."""
        answer = self.api.post(f"/flow_runs/{self.id}/resume", json={"run_input": run_input})
        return dict(answer.json())

    def answer(self, run_input: dict[str, object]) -> str:
        """Through the form, until the next one is open; why it was refused."""
        before = self.form
        told = self.resume(run_input)
        assert told["status"] == "ACCEPT", told
        self.wait_for_form(before)
        return self.refusals[-1]

    @property
    def refusals(self) -> list[str]:
        return [str(detail["why"]) for detail in self.records.events(self.id, "answer refused")]

    @property
    def refused_by_prefect(self) -> int:
        """By the trail: how many answers came to no flow."""
        return sum(int(detail["times"]) for detail in self.records.events(self.id, "resume refused"))

    def set_state(self, kind: str, force: bool = True) -> str:
        wanted = {"state": {"type": kind}, "force": force}
        return str(self.api.post(f"/flow_runs/{self.id}/set_state", json=wanted).raise_for_status().json()["status"])

    def ending(self) -> tuple[str, str]:
        """Once it has one: with its message."""
        ended = self.records.wait_for_ending(self.id)
        return str(ended["ending"]), str(ended["message"])

    def count(self, event: str) -> int:
        return len(self.records.events(self.id, event))

    def ledger(self, statement: str, **parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.stack.layout.database_url("backstop"), connect_timeout=5) as connection:
            rows = connection.execute(statement, {"run": self.id, **parameters})
            return list(rows.fetchall()) if rows.description else []


def begin(
    stack: RunningStack, api: httpx.Client, environment: str, procedure: str = "deploy", **others: Any
) -> Waiting:
    parameters = {"environment": environment, **(DEPLOY if procedure == "deploy" else {}), **others}
    run_id = ask_for_run(api, procedure, parameters).raise_for_status().json()["id"]
    return Waiting(stack, api, str(run_id))


def agree(stack: RunningStack, run: Waiting, person: Person) -> None:
    """At the terminal; it must count."""
    code, told = decide(stack, run, person)
    assert code == 0, told


def decide(stack: RunningStack, run: Waiting, person: Person, *words: str) -> tuple[int, str]:
    """At the terminal: exit code and what was printed."""
    with stack.begin("approve", run.id, "--as", person.name, *words, stdin=True) as process:
        output, _ = process.communicate(person.code(), timeout=WAITS)
    return process.returncode, output
