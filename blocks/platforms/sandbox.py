"""The sandbox platform (deployments/sandbox), over its control API."""

from typing import Any, ClassVar, TypeVar
from urllib.parse import quote

import httpx
from pydantic import Field, TypeAdapter

from blocks.errors import RefusedByPlatform, Unreachable
from blocks.platforms.interface import Capability, Platform, Release, Split
from blocks.rate_limit import LONGEST_FOR_A_CHANGE_SECONDS, LONGEST_SECONDS, ask_when_allowed
from blocks.reference import Address, Secret, resolve
from blocks.trust import trusted_certificates

Shape = TypeVar("Shape")

_LOOK = "Look whether the sandbox runs and its address is right."
_STOP_SHARE = 0.8
"""Part of the timeout that a stop may use for waiting, so that its answer is still in time."""


class SandboxPlatform(Platform):
    """Releases as processes on one machine, behind a front door that shifts traffic by percent."""

    _block_type_name = "Sandbox platform"
    _block_type_slug = "sandbox-platform"
    _description = "Releases as processes on one machine, behind a front door that shifts traffic by percent."

    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability)
    late_seconds: ClassVar[float] = 5

    url: Address = Field(description="Address of the sandbox's control API.")
    token: Secret = Field(description="Reference to its bearer token: ${NAME} or file:/PATH.")
    timeout: float = Field(5, gt=0, description="Seconds that one call may take.")

    def read_releases(self) -> list[Release]:
        return _parsed(list[Release], self._call("GET", "/releases"), "releases")

    def read_traffic(self) -> Split:
        return _parsed(Split, self._call("GET", "/traffic"), "split")

    def read_free_disk(self) -> int | None:
        return _parsed(int, self._call("GET", "/disk"), "free_bytes")

    def read_logs(self, release_id: str, lines: int = 50) -> list[str]:
        answer = self._call("GET", f"{_path(release_id)}/logs", params={"lines": lines})
        return _parsed(list[str], answer, "lines")

    def start_release(self, version: str, commit: str, run_id: str) -> Release:
        asked = {"version": version, "commit": commit, "run_id": run_id}
        return _parsed(Release, self._call("POST", "/releases", json=asked))

    def shift_traffic(self, split: Split) -> None:
        self._call("PUT", "/traffic", json={"split": split})

    def stop_release(self, release_id: str) -> None:
        self._call("POST", f"{_path(release_id)}/stop", json={"wait": self.timeout * _STOP_SHARE})

    def scale_release(self, release_id: str, replicas: int) -> None:
        self._call("POST", f"{_path(release_id)}/scale", json={"replicas": replicas})

    def read_maintenance(self) -> str:
        return _parsed(str, self._call("GET", "/maintenance"), "by")

    def set_maintenance(self, by: str) -> None:
        self._call("PUT", "/maintenance", json={"by": by})

    def read_variables(self) -> dict[str, str]:
        return _parsed(dict[str, str], self._call("GET", "/variables"), "variables")

    def set_variables(self, variables: dict[str, str]) -> None:
        self._call("PUT", "/variables", json={"variables": variables})

    def _call(self, method: str, path: str, **content: Any) -> httpx.Response:
        """A client a call: a kept connection may be one that a restarted sandbox has closed.

        No foreign error is quoted: some quote the header that holds the token.
        """
        address = resolve(self.url).rstrip("/") + path
        headers = {b"Authorization": f"Bearer {resolve(self.token)}".encode()}
        try:
            with httpx.Client(
                headers=headers, timeout=self.timeout, verify=trusted_certificates(), trust_env=False
            ) as client:
                longest = LONGEST_SECONDS if method == "GET" else LONGEST_FOR_A_CHANGE_SECONDS
                answer = ask_when_allowed(lambda: client.request(method, address, **content), longest)
        except httpx.TimeoutException:
            raise Unreachable(f"{self._named} did not answer within {self.timeout:g} s.", _LOOK) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(f"{self._named} cannot be reached ({type(error).__name__}).", _LOOK) from None
        if answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise Unreachable(f"{self._named} takes no more calls for a moment.", _LOOK)
        if answer.is_client_error:
            raise RefusedByPlatform(f"{self._named} refused: {_reason(answer)}.", _hint(answer))
        if not answer.is_success:
            raise Unreachable(f"{self._named} failed with status {answer.status_code}.", _LOOK)
        return answer

    @property
    def _named(self) -> str:
        return f"The sandbox platform at {self.url}"


def _path(release_id: str) -> str:
    return f"/releases/{quote(release_id, safe='')}"


def _parsed(shape: type[Shape], answer: httpx.Response, field: str | None = None) -> Shape:
    try:
        content = answer.json()
        return TypeAdapter(shape).validate_python(content[field] if field else content)
    except (ValueError, LookupError, TypeError):  # says no more: the answer may hold secrets
        raise Unreachable("What answered is not a sandbox platform.", _LOOK) from None


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, LookupError, TypeError):
        return f"status {answer.status_code}"


def _hint(answer: httpx.Response) -> str:
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        return "Set the token reference to the token that the sandbox was started with."
    return "The platform changed nothing."
