"""What visitors read while they are kept out, at Statuspage: a maintenance where that was planned, else an incident."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field

from blocks.errors import Unreachable
from blocks.reference import Address, Secret
from blocks.vendor_api import VendorApi

_ID = r"^[A-Za-z0-9]{1,40}$"


_OVER = ("resolved", "completed")


class _Incident(BaseModel):
    """A maintenance is one, too."""

    id: str
    status: str
    metadata: dict[str, dict[str, Any]] | None = None


class Statuspage(BaseModel):
    """One page. It takes 60 calls a minute; to begin or end anything there is two of them."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["statuspage"] = Field("statuspage", description="Whose status page it is.")
    page: str = Field(pattern=_ID, description="The page's id.")
    key: Secret = Field(description="Reference to an API key that may manage the page.")
    components: list[str] = Field(
        default_factory=list, max_length=50, description="Ids of the components that are named."
    )
    title: str = Field("Maintenance", min_length=1, max_length=200, description="What a maintenance is called.")
    incident_title: str = Field(
        "The service is not available", min_length=1, max_length=200, description="What an incident is called."
    )
    text: str = Field(
        "We are working on it, and are back in a while.", max_length=2000, description="What visitors read."
    )
    planned_minutes: int = Field(
        60, ge=1, le=1440, description="How long a maintenance is announced for. It ends when visitors are let in."
    )
    after_seconds: float = Field(10, ge=0, le=3600, description="What is over sooner is not told.")
    url: Address = Field("https://api.statuspage.io", description="Address of Statuspage's API.")
    timeout: float = Field(10, gt=0, le=60, description="Seconds that one call may take.")

    def open_incident(self, run_id: str) -> str:
        """Its id. Where the run has one that is not resolved it is that one. Raises Unreachable."""
        return self._begin({"run": run_id}, self.incident_title, status="identified", impact_override="major")

    def resolve_incident(self, run_id: str) -> None:
        """Repeating it changes nothing, nor where somebody has resolved it by hand. Raises Unreachable."""
        self._end({"run": run_id}, "resolved", "It is done, and the service is back.")

    def begin_maintenance(self, run_id: str) -> str:
        """Its id. It is under way from now on, and nothing but `complete_maintenance` ends it. Raises Unreachable."""
        now = datetime.now(UTC)
        return self._begin(
            {"maintenance": run_id},
            self.title,
            status="in_progress",
            impact_override="maintenance",
            scheduled_for=now.isoformat(),
            scheduled_until=(now + timedelta(minutes=self.planned_minutes)).isoformat(),
            scheduled_auto_completed=False,
        )

    def complete_maintenance(self, run_id: str, as_planned: bool) -> None:
        """As `resolve_incident`."""
        done = "It is done, and the service is back." if as_planned else "It did not go as planned: see the incident."
        self._end({"maintenance": run_id}, "completed", done)

    def count_unresolved(self) -> int:
        """Incidents, everybody's. Raises Unreachable."""
        return len(self._read("/incidents/unresolved"))

    def _begin(self, own: dict[str, str], name: str, **fields: object) -> str:
        if found := self._find(own):
            return found.id
        components = {"component_ids": self.components} if self.components else {}
        incident = {"name": name, "body": self.text, "metadata": {"backstop": own}, **fields, **components}
        return self._api.parsed(_Incident, self._call("POST", "/incidents", json={"incident": incident})).id

    def _end(self, own: dict[str, str], status: str, body: str) -> None:
        if found := self._find(own):
            self._call("PATCH", f"/incidents/{found.id}", json={"incident": {"status": status, "body": body}})

    def _find(self, own: dict[str, str]) -> _Incident | None:
        """Among the newest hundred, which is all that one answer holds."""
        found = self._read("/incidents")
        return next(
            (one for one in found if one.status not in _OVER and (one.metadata or {}).get("backstop") == own), None
        )

    def _read(self, path: str) -> list[_Incident]:
        return self._api.parsed(list[_Incident], self._call("GET", path))

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
