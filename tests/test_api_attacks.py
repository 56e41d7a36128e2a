"""Whoever knows the login may send anything to Prefect's API. What is not allowed changes nothing."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from deployments.apply import ROOT
from tests.prefect_server import ask_for_run, count_runs, environment_names, prefect_api, read_deployment, wait_for_end
from tests.running_stack import RunningStack

PLAN = {"environment": "shop-staging", "version": "v1.1.0", "plan_only": True}
ESCAPE = "{{ ''.__class__.__mro__[1].__subclasses__() }}"

BAD_VALUES: list[tuple[str, Any]] = [
    ("environment", "shop-nowhere"),
    ("environment", ["shop-staging"]),
    ("version", "v" * 10_000),
    ("version", ["v1.1.0"]),
    ("commit", "{{ 7 * 7 }}"),
    ("hotfix", "perhaps"),
    ("requested_by", "r" * 10_000),
]
"""Parameter → value, each in place of the one in PLAN."""

MORE_BAD_VALUES: list[tuple[str, Any]] = [
    ("environment", "../../etc"),
    ("version", 11),
    ("version", "v1 --force"),
    ("version", "{{ 7 * 7 }}"),
    ("plan_only", "{{ 7 * 7 }}"),
]
MISFITS = [({**PLAN, "shell": "id"}, "'shell'"), ({"environment": "shop-staging"}, "'version'")]
"""Parameters that are one too many or one too few, and the one to blame."""


class Traces:
    """What a run would have left behind."""

    def __init__(self, stack: RunningStack) -> None:
        self._stack = stack
        self.platform_before = self.platform()

    def platform(self) -> list[Any]:
        """The traffic and the releases of staging."""
        token = self._stack.layout.credentials.staging.sandbox_token
        url, headers = self._stack.layout.control_url("staging"), {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=url, headers=headers, timeout=10, trust_env=False) as control:
            return [control.get(path).raise_for_status().json() for path in ("/traffic", "/releases", "/variables")]

    def ledger(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._stack.layout.database_url("backstop"), connect_timeout=5) as connection:
            rows = connection.execute(statement, parameters)  # type: ignore[call-overload]
            return list(rows.fetchall()) if rows.description else []

    def assert_none_of(self, run_id: str) -> None:
        effects = "SELECT detail FROM audit WHERE run_id = %s AND event = 'effect intended'"
        assert self.ledger(effects, run_id) == []
        assert self.platform() == self.platform_before


@pytest.fixture
def api(stack: RunningStack) -> Iterator[httpx.Client]:
    with prefect_api(stack) as api:
        yield api


@pytest.fixture
def traces(stack: RunningStack) -> Traces:
    return Traces(stack)


@contextmanager
def without_schema(api: httpx.Client, procedure: str) -> Iterator[None]:
    """The check of the parameters is switched off for the whole deployment."""
    deployment = f"/deployments/{read_deployment(api, procedure)['id']}"
    api.patch(deployment, json={"enforce_parameter_schema": False}).raise_for_status()
    try:
        yield
    finally:
        api.patch(deployment, json={"enforce_parameter_schema": True}).raise_for_status()


def test_the_server_refuses_bad_parameters_by_name_and_starts_nothing(api: httpx.Client) -> None:
    before = count_runs(api)
    for name, value in BAD_VALUES + MORE_BAD_VALUES:
        answer = ask_for_run(api, "deploy", {**PLAN, name: value})
        assert (answer.status_code, f"field '{name}'" in answer.text) == (409, True), (name, answer.text[:300])
    for parameters, blamed in MISFITS:
        answer = ask_for_run(api, "deploy", parameters)
        assert (answer.status_code, blamed in answer.text) == (409, True), answer.text[:300]
    assert count_runs(api) == before


def test_with_the_schema_switched_off_the_procedure_itself_refuses_them_by_name(
    api: httpx.Client, traces: Traces
) -> None:
    with without_schema(api, "deploy"):
        answers = [ask_for_run(api, "deploy", {**PLAN, "plan_only": False, name: value}) for name, value in BAD_VALUES]
    runs = [answer.raise_for_status().json()["id"] for answer in answers]
    for (name, _), run_id in zip(BAD_VALUES, runs, strict=True):
        state = wait_for_end(api, run_id)
        assert state["name"] == "Refused", (name, state)
        assert state["message"].startswith(f"Parameter '{name}' was "), state["message"]
        assert state["message"].endswith("Nothing was changed.")
        assert len(state["message"]) < 1000
        assert traces.ledger("SELECT ending FROM run WHERE id = %s", run_id) == [("Refused",)]
        traces.assert_none_of(run_id)


def test_a_run_whose_parameters_do_not_fit_the_flow_never_begins(api: httpx.Client, traces: Traces) -> None:
    with without_schema(api, "deploy"):
        answers = [ask_for_run(api, "deploy", parameters) for parameters, _ in MISFITS]
    runs = [answer.raise_for_status().json()["id"] for answer in answers]
    for (_, blamed), run_id in zip(MISFITS, runs, strict=True):
        assert wait_for_end(api, run_id)["type"] in ("CRASHED", "FAILED")
        log = api.post("/logs/filter", json={"logs": {"flow_run_id": {"any_": [run_id]}}}).json()
        assert any(blamed in line["message"] for line in log)
        assert traces.ledger("SELECT 1 FROM run WHERE id = %s", run_id) == []
        traces.assert_none_of(run_id)


@pytest.mark.parametrize("name", ["version", "requested_by"])
@pytest.mark.parametrize(
    "value", ["v1\x00.0", {"__prefect_kind": "jinja", "template": ESCAPE}], ids=["NUL", "rendered template"]
)
def test_what_the_server_cannot_even_store_starts_nothing(api: httpx.Client, name: str, value: object) -> None:
    before = count_runs(api)
    assert ask_for_run(api, "deploy", {**PLAN, name: value}).is_error
    with without_schema(api, "deploy"):
        assert ask_for_run(api, "deploy", {**PLAN, name: value}).is_error
    assert count_runs(api) == before


def test_a_template_in_a_free_text_stays_text(api: httpx.Client, traces: Traces) -> None:
    run_id = ask_for_run(api, "deploy", {**PLAN, "requested_by": ESCAPE}).raise_for_status().json()["id"]
    assert wait_for_end(api, run_id)["name"] == "Done"
    assert traces.ledger("SELECT requested_by FROM run WHERE id = %s", run_id) == [(ESCAPE,)]
    traces.assert_none_of(run_id)


@pytest.mark.drill
def test_after_a_bare_prefect_deploy_the_flow_refuses_unknown_environments_and_apply_restores_the_list(
    stack: RunningStack, api: httpx.Client, traces: Traces, tmp_path: Path
) -> None:
    shutil.copy(ROOT / "prefect.yaml", tmp_path)
    surroundings = {**os.environ, **stack.surroundings, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    subprocess.run(command, cwd=tmp_path, env=surroundings, check=True, capture_output=True, timeout=90)
    try:
        answer = ask_for_run(api, "deploy", {**PLAN, "plan_only": False, "environment": "shop-nowhere"})
        run_id = answer.raise_for_status().json()["id"]
        state = wait_for_end(api, run_id)
        assert (state["name"], "Parameter 'environment'" in state["message"]) == ("Refused", True)
        traces.assert_none_of(run_id)
    finally:
        stack.run("apply")
    stack.run("apply", "--check")
    restored = read_deployment(api, "deploy")
    assert set(restored["parameter_openapi_schema"]["properties"]["environment"]["enum"]) == environment_names(api)
    assert restored["pull_steps"] == []
    assert ask_for_run(api, "deploy", {**PLAN, "environment": "shop-nowhere"}).status_code == 409


@pytest.mark.parametrize(("version", "ending"), [("v1.1.0", "Done"), ("v1.6.0", "Rolled back")])
def test_a_run_that_has_ended_cannot_be_made_to_repeat_its_effects(
    stack: RunningStack, api: httpx.Client, version: str, ending: str
) -> None:
    run = stack.run_as_ci("deploy", "shop-staging", version=version)
    assert run["ending"] == ending, run
    wait_for_end(api, run["run"])  # by the ledger it has ended already; its process tells Prefect next
    traces = Traces(stack)
    effects = "SELECT count(*) FROM audit WHERE run_id = %s AND event = 'effect intended'"
    before = traces.ledger(effects, run["run"])

    state = send_back(api, run["run"])
    assert (state["name"], state["message"]) == (
        "Refused",
        f"This run has already ended: {ending}. Start a new one. Nothing was changed.",
    )
    assert traces.ledger(effects, run["run"]) == before
    assert traces.ledger("SELECT ending FROM run WHERE id = %s", run["run"]) == [(ending,)]
    assert traces.platform() == traces.platform_before


def test_a_run_that_began_and_never_ended_is_not_begun_again(api: httpx.Client, traces: Traces) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    wanted = {"parameters": PLAN, "state": {"type": "SCHEDULED", "state_details": {"scheduled_time": tomorrow}}}
    deployment = read_deployment(api, "deploy")["id"]
    run_id = api.post(f"/deployments/{deployment}/create_flow_run", json=wanted).raise_for_status().json()["id"]
    traces.ledger(
        "INSERT INTO run (id, procedure, environment, parameters, requested_by)"
        " VALUES (%s, 'deploy', 'shop-staging', '{}', 'one who died')",
        run_id,
    )
    state = send_back(api, run_id)
    assert state["name"] == "Refused"
    assert "it died, or still goes on" in state["message"]
    traces.assert_none_of(run_id)
    traces.ledger("UPDATE run SET ending = 'Refused', ended_at = now(), message = 'a test' WHERE id = %s", run_id)


def send_back(api: httpx.Client, run_id: str) -> dict[str, Any]:
    """As the Retry button does, but past every rule of Prefect's; the state that it comes to."""
    wanted = {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}, "force": True}
    api.post(f"/flow_runs/{run_id}/set_state", json=wanted).raise_for_status()
    return wait_for_end(api, run_id)
