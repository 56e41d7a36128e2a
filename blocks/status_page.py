"""What visitors read while they are kept out: an incident at Statuspage."""

from typing import Any, Literal

import httpx
from pydantic import BaseModel, Field

from blocks.errors import Unreachable
from blocks.reference import Address, Secret
from blocks.vendor_api import VendorApi

_ID = r"^[A-Za-z0-9]{1,40}$"


class _Incident(BaseModel):
    id: str
    metadata: dict[str, dict[str, Any]] | None = None


class Statuspage(BaseModel):
    """One page. It takes 60 calls a minute; opening or resolving an incident is two of them."""

    type: Literal["statuspage"] = Field("statuspage", description="Whose status page it is.")
    page: str = Field(pattern=_ID, description="The page's id.")
    key: Secret = Field(description="Reference to an API key that may manage the page.")
    components: list[str] = Field(
        default_factory=list, max_length=50, description="Ids of the components that an incident names."
    )
    title: str = Field("Maintenance", min_length=1, max_length=200, description="What an incident is called.")
    text: str = Field(
        "We are working on it, and are back in a while.", max_length=2000, description="What visitors read."
    )
    after_seconds: float = Field(10, ge=0, le=3600, description="What is over sooner is not told.")
    url: Address = Field("https://api.statuspage.io", description="Address of Statuspage's API.")
    timeout: float = Field(10, gt=0, le=60, description="Seconds that one call may take.")

    def open_incident(self, run_id: str) -> str:
        """Its id. Where the run has one that is not resolved it is that one. Raises Unreachable."""
        if found := self._find(run_id):
            return found.id
        incident = {
            "name": self.title,
            "status": "identified",
            "impact_override": "maintenance",
            "body": self.text,
            "metadata": {"backstop": {"run": run_id}},
            **({"component_ids": self.components} if self.components else {}),
        }
        answer = self._call("POST", "/incidents", json={"incident": incident})
        return self._api.parsed(_Incident, answer).id

    def resolve_incident(self, run_id: str) -> None:
        """Repeating it changes nothing, nor where somebody has resolved it by hand. Raises Unreachable."""
        if found := self._find(run_id):
            incident = {"status": "resolved", "body": "It is done, and the service is back."}
            self._call("PATCH", f"/incidents/{found.id}", json={"incident": incident})

    def count_unresolved(self) -> int:
        """Everybody's. Raises Unreachable."""
        return len(self._read_unresolved())

    def _find(self, run_id: str) -> _Incident | None:
        own = {"run": run_id}
        return next((one for one in self._read_unresolved() if (one.metadata or {}).get("backstop") == own), None)

    def _read_unresolved(self) -> list[_Incident]:
        """Their newest hundred, which is all that one answer holds."""
        return self._api.parsed(list[_Incident], self._call("GET", "/incidents/unresolved"))

    def _call(self, method: str, path: str, **content: Any) -> httpx.Response:
        return self._api.call(method, f"/v1/pages/{self.page}{path}", **content)

    @property
    def _api(self) -> VendorApi:
        return VendorApi(
            named="Statuspage",
            url=self.url,
            token=self.key,
            sent_as="Authorization: OAuth {}",
            seconds=self.timeout,
            look="Look whether it works, and whether the worker's machine may reach it.",
            unauthorized="Set the key's reference to an API key that may manage the page.",
            read_reason=lambda refusal: refusal.get("error") or refusal["message"],
            refusal=Unreachable,
        )
