"""The sandbox platform (deployments/sandbox), over its control API."""

from typing import ClassVar, Literal, TypeVar
from urllib.parse import quote

from pydantic import Field

from blocks.platforms.interface import Capability, Platform, Release, Split
from blocks.reference import Address, Secret
from blocks.vendor_api import VendorApi

Shape = TypeVar("Shape")

_STOP_SHARE = 0.8
"""Part of the timeout that a stop may use for waiting, so that its answer is still in time."""


class SandboxPlatform(Platform):
    """Releases as processes on one machine, behind a front door that shifts traffic by percent."""

    _block_type_name = "Sandbox platform"
    _block_type_slug = "sandbox-platform"
    _description = "Releases as processes on one machine, behind a front door that shifts traffic by percent."

    late_seconds: ClassVar[float] = 5

    vendor: Literal["sandbox"] = Field(
        "sandbox", description="Whose platform it is: a saved block is read again as what it was."
    )
    url: Address = Field(description="Address of the sandbox's control API.")
    token: Secret = Field(description="Reference to its bearer token: ${NAME} or file:/PATH.")
    timeout: float = Field(5, gt=0, le=3600, description="Seconds that one call may take.")

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset(Capability)

    def read_releases(self) -> list[Release]:
        return self._read(list[Release], "/releases", "releases")

    def read_traffic(self) -> Split:
        return self._read(Split, "/traffic", "split")

    def read_free_disk(self) -> int | None:
        return self._read(int, "/disk", "free_bytes")

    def read_logs(self, release_id: str, lines: int = 50) -> list[str]:
        return self._read(list[str], f"{_path(release_id)}/logs?lines={lines}", "lines")

    def start_release(self, version: str, commit: str, run_id: str) -> Release:
        asked = {"version": version, "commit": commit, "run_id": run_id}
        return self._api.parsed(Release, self._api.call("POST", "/releases", json=asked))

    def shift_traffic(self, split: Split) -> None:
        self._api.call("PUT", "/traffic", json={"split": split})

    def stop_release(self, release_id: str) -> None:
        self._api.call("POST", f"{_path(release_id)}/stop", json={"wait": self.timeout * _STOP_SHARE})

    def scale_release(self, release_id: str, replicas: int) -> None:
        self._api.call("POST", f"{_path(release_id)}/scale", json={"replicas": replicas})

    def read_maintenance(self) -> str:
        return self._read(str, "/maintenance", "by")

    def set_maintenance(self, by: str) -> None:
        self._api.call("PUT", "/maintenance", json={"by": by})

    def read_variables(self) -> dict[str, str]:
        return self._read(dict[str, str], "/variables", "variables")

    def set_variables(self, variables: dict[str, str]) -> None:
        self._api.call("PUT", "/variables", variables.values(), json={"variables": variables})

    def _read(self, shape: type[Shape], path: str, field: str) -> Shape:
        return self._api.parsed(shape, self._api.call("GET", path), field)

    @property
    def _api(self) -> VendorApi:
        return VendorApi(
            named=f"The sandbox platform at {self.url}",
            url=self.url,
            token=self.token,
            seconds=self.timeout,
            look="Look whether the sandbox runs and its address is right.",
            unauthorized="Set the token reference to the token that the sandbox was started with.",
            read_reason=lambda refusal: refusal["error"],
        )


def _path(release_id: str) -> str:
    return f"/releases/{quote(release_id, safe='')}"
