"""Somebody is woken: PagerDuty's Events API, version 2."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from blocks.errors import Unreachable
from blocks.reference import Address, Secret, resolve
from blocks.vendor_api import VendorApi

_LONGEST_SUMMARY = 1024
"""Characters; PagerDuty refuses more."""


class PagerDuty(BaseModel):
    """A service's integration. Its routing key stands in the body of every event, so no answer is quoted with it.

    No call of this API only looks. An answer says that an event was accepted, not that somebody was reached.
    """

    model_config = ConfigDict(extra="forbid")

    type: Literal["pagerduty"] = Field("pagerduty", description="Whose pager it is.")
    routing_key: Secret = Field(description="Reference to the integration key of a service's Events API v2.")
    url: Address = Field("https://events.pagerduty.com", description="Address of the Events API.")
    timeout: float = Field(10, gt=0, le=60, description="Seconds that one call may take.")

    def page(self, key: str, summary: str, source: str, details: dict[str, str], link: str) -> None:
        """Repeating it with the same `key` pages nobody again. Raises Unreachable."""
        payload = {
            "summary": summary[:_LONGEST_SUMMARY],
            "severity": "critical",
            "source": source,
            "custom_details": details,
        }
        shown = {"client": "Backstop", "client_url": link, "links": [{"href": link, "text": "The run"}]}
        self._send("trigger", key, {"payload": payload, **shown})

    def resolve(self, key: str) -> None:
        """Repeating it changes nothing, and neither does a key that nobody was paged for. Raises Unreachable."""
        self._send("resolve", key, {})

    def _send(self, action: str, key: str, content: dict[str, Any]) -> None:
        event = {"routing_key": resolve(self.routing_key), "event_action": action, "dedup_key": key, **content}
        private = [event["routing_key"]]
        answer = self._api.call("POST", "/v2/enqueue", private, json=event)
        if (status := self._api.parsed(str, answer, "status")) != "success":
            raise Unreachable(f"PagerDuty did not take the event: {self._api.quoted(status, answer, private)}.")

    @property
    def _api(self) -> VendorApi:
        return VendorApi(
            named="PagerDuty",
            url=self.url,
            token=None,
            seconds=self.timeout,
            look="Look at its status page, and whether the worker's machine may reach it.",
            unauthorized="Set the routing key's reference to the integration key of an Events API v2 integration.",
            read_reason=lambda refusal: ", ".join([refusal["message"], *refusal.get("errors", [])]),
            refusal=Unreachable,
        )
