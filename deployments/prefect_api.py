"""The few calls that the command line needs of Prefect's API. Importing Prefect itself takes a second."""

import os
from typing import Any

import httpx

from blocks.errors import BackstopError, Refused

FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
"""Types of states in which Prefect takes a run for ended."""
_TIMEOUT = httpx.Timeout(30, connect=5)
"""Seconds. A busy server takes its time; one that is not there says so at once."""


class PrefectAway(BackstopError):
    """Prefect's server is not there, does not answer in time, or answers with an error of its own."""


class PrefectApi:
    """Talks to the server that PREFECT_API_URL names."""

    def __init__(self) -> None:
        self.url = os.environ["PREFECT_API_URL"].rstrip("/")
        user, _, password = os.environ.get("PREFECT_API_AUTH_STRING", "").partition(":")
        auth = (user, password) if password else None
        # Certificates take a while to read, and over http nobody shows one.
        encrypted = self.url.startswith("https:")
        self._client = httpx.Client(base_url=self.url, auth=auth, timeout=_TIMEOUT, verify=encrypted, trust_env=False)

    def close(self) -> None:
        """Its connections; for whoever does not end right after."""
        self._client.close()

    def read_procedures(self) -> list[str]:
        """The procedures that are deployed, by name."""
        deployments = self._call("POST", "/deployments/filter", json={"limit": 200}).json()
        flows = {flow["id"]: flow["name"] for flow in self._call("POST", "/flows/filter", json={"limit": 200}).json()}
        return sorted(one["name"] for one in deployments if one["name"] == flows[one["flow_id"]])

    def read_deployment(self, procedure: str) -> dict[str, Any] | None:
        """The procedure's deployment with its parameter schema; None when there is none."""
        answer = self._client_call("GET", f"/deployments/name/{procedure}/{procedure}")
        return None if answer.status_code == httpx.codes.NOT_FOUND else _checked(answer).json()

    def read_blocks(self, kind: str) -> list[dict[str, Any]]:
        """The saved blocks of a type, by name, as documents: `name` and `data`, other blocks nested in it."""
        answer = self._client_call("GET", f"/block_types/slug/{kind}/block_documents")
        documents = [] if answer.status_code == httpx.codes.NOT_FOUND else _checked(answer).json()
        return sorted(documents, key=lambda document: str(document["name"]))

    def create_run(self, deployment_id: str, parameters: dict[str, Any], key: str | None) -> str:
        """Start a run now; the same `key` again gives the same run.

        Raises Refused for bad parameters, and PrefectAway when it may have begun and nobody said so.
        """
        wanted = {"parameters": parameters, "state": {"type": "SCHEDULED"}, "idempotency_key": key}
        answer = self._client_call("POST", f"/deployments/{deployment_id}/create_flow_run", json=wanted)
        if answer.status_code in (httpx.codes.CONFLICT, httpx.codes.UNPROCESSABLE_ENTITY):
            raise Refused(f"The server refused the parameters: {_reason(answer)}", "Nothing was changed.")
        return str(_checked(answer).json()["id"])

    def read_state(self, run_id: str) -> dict[str, Any]:
        """The run's present state: type, name, message. A run that somebody deleted has ended."""
        answer = self._client_call("GET", f"/flow_runs/{run_id}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return {"type": "CANCELLED", "name": "deleted", "message": "The run was deleted."}
        run: dict[str, Any] = _checked(answer).json()
        return run["state"] or {"type": "PENDING", "name": "Pending", "message": ""}

    def answer(self, run_id: str, content: dict[str, Any]) -> None:
        """Press Resume in a run that waits, with this in its form."""
        self._call("POST", f"/flow_runs/{run_id}/resume", json={"run_input": content})

    def wake(self, run_id: str) -> None:
        """Have a run that waits begin again, from its top; one that does not wait is left as it is."""
        self._set_state(run_id, {"type": "SCHEDULED", "name": "Resuming"})

    def end_run(self, run_id: str, name: str, message: str) -> None:
        """Have a run that no process carries out any more shown as failed, by this name."""
        self._set_state(run_id, {"type": "FAILED", "name": name, "message": message})

    def _set_state(self, run_id: str, state: dict[str, Any]) -> None:
        self._call("POST", f"/flow_runs/{run_id}/set_state", json={"state": state})

    def read_progress(self, run_id: str) -> list[str]:
        """What the run's progress bars say at the moment, oldest first."""
        wanted = {"flow_run_id": {"any_": [run_id]}, "type": {"any_": ["progress"]}}
        found = self._call("POST", "/artifacts/filter", json={"artifacts": wanted, "sort": "ID_DESC"}).json()
        by_age = sorted(found, key=lambda artifact: str(artifact["created"]))
        return [str(artifact["description"]) for artifact in by_age]

    def link(self, run_id: str) -> str:
        """The run's page in the interface."""
        return f"{self.url.removesuffix('/api')}/runs/flow-run/{run_id}"

    def _call(self, method: str, path: str, **content: Any) -> httpx.Response:
        return _checked(self._client_call(method, path, **content))

    def _client_call(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            return self._client.request(method, path, **content)
        except httpx.HTTPError as error:
            raise PrefectAway(
                f"Prefect's server at {self.url} does not answer ({type(error).__name__}).",
                "Start it, with `backstop up` for the embedded one.",
            ) from None


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        raise Refused("Prefect's server refused the login.", "Set PREFECT_API_AUTH_STRING as the server has it.")
    if answer.is_server_error:
        raise PrefectAway(f"Prefect's server answers {answer.status_code}: {_reason(answer)}", "Its log says why.")
    if answer.is_error:
        raise BackstopError(f"Prefect's server answers {answer.status_code}: {_reason(answer)}")
    return answer


def _reason(answer: httpx.Response) -> str:
    try:
        reason = str(answer.json().get("detail") or answer.json())
    except ValueError:
        reason = answer.text
    # It quotes what was given, and says what is allowed after that.
    return reason if len(reason) <= 300 else f"{reason[:150]} … {reason[-150:]}"
