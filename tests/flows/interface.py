"""Prefect's API, used as its interface and other people's scripts use it."""

from typing import Any

import httpx

from tests.running_stack import RunningStack


class Interface:
    def __init__(self, stack: RunningStack) -> None:
        layout = stack.layout
        user, _, password = layout.credentials.prefect_login.partition(":")
        self._client = httpx.Client(base_url=layout.api_url, auth=(user, password), timeout=20, trust_env=False)

    def close(self) -> None:
        self._client.close()

    def create_run(self, procedure: str, parameters: dict[str, object], enforced: bool = True) -> httpx.Response:
        """Ask for a run; not `enforced`, with the check of its parameters switched off, as the run form can."""
        deployment = self._client.get(f"/deployments/name/{procedure}/{procedure}").json()["id"]
        body: dict[str, object] = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        if not enforced:
            body["enforce_parameter_schema"] = False
        return self._client.post(f"/deployments/{deployment}/create_flow_run", json=body)

    def read_run(self, run_id: str) -> dict[str, Any]:
        return dict(self._client.get(f"/flow_runs/{run_id}").json())

    def state(self, run_id: str) -> str:
        return str(self.read_run(run_id)["state"]["name"])

    def cancel(self, run_id: str) -> None:
        """What the Cancel button sends."""
        self._client.post(f"/flow_runs/{run_id}/set_state", json={"state": {"type": "CANCELLING"}}).raise_for_status()

    def artifacts(self, run_id: str) -> dict[str, str]:
        """Key → content, of the run itself."""
        wanted = {"artifacts": {"flow_run_id": {"any_": [run_id]}}}
        found = self._client.post("/artifacts/filter", json=wanted).json()
        return {artifact["key"]: str(artifact["data"]) for artifact in found}

    def progress(self, run_id: str) -> list[str]:
        """What the run's progress bars say."""
        wanted = {"artifacts": {"flow_run_id": {"any_": [run_id]}, "type": {"any_": ["progress"]}}}
        return [str(artifact["description"]) for artifact in self._client.post("/artifacts/filter", json=wanted).json()]
