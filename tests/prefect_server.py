"""The stack's Prefect server, talked to as any script may that knows the login."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.blocks.platforms.waiting import eventually
from tests.running_stack import RunningStack

SECONDS = 20
RUN_SECONDS = 180
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@contextmanager
def prefect_api(stack: RunningStack) -> Iterator[httpx.Client]:
    user, _, password = stack.layout.credentials.prefect_login.partition(":")
    with httpx.Client(
        base_url=stack.layout.api_url,
        auth=(user, password),
        timeout=SECONDS,
        trust_env=False,
        limits=httpx.Limits(max_keepalive_connections=0),  # the server cuts a connection after an error of its own
    ) as api:
        yield api


def environment_names(api: httpx.Client) -> set[str]:
    """Of all environments that were applied."""
    return set(read_environments(api))


def read_environments(api: httpx.Client) -> dict[str, dict[str, Any]]:
    """Name → what was applied."""
    documents = api.get("/block_types/slug/environment/block_documents").raise_for_status().json()
    return {document["name"]: document["data"] for document in documents}


def count_runs(api: httpx.Client) -> int:
    return int(api.post("/flow_runs/count", json={}).raise_for_status().json())


def read_deployment(api: httpx.Client, procedure: str) -> dict[str, Any]:
    return dict(api.get(f"/deployments/name/{procedure}/{procedure}").raise_for_status().json())


def ask_for_run(api: httpx.Client, procedure: str, parameters: dict[str, Any]) -> httpx.Response:
    wanted = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
    deployment = read_deployment(api, procedure)["id"]
    return api.post(f"/deployments/{deployment}/create_flow_run", json=wanted)


def wait_for_end(api: httpx.Client, run_id: str) -> dict[str, Any]:
    """The run's state once it is final: type, name, message."""

    def state() -> dict[str, Any]:
        return dict(api.get(f"/flow_runs/{run_id}").raise_for_status().json()["state"])

    eventually(lambda: state()["type"] in FINAL, RUN_SECONDS)
    return state()
