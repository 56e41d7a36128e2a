"""A stand-in for PagerDuty's Events API, version 2: alerts by their keys, and how often somebody was woken."""

from collections import Counter
from typing import Any

from starlette.requests import Request

from tests.standins.description import Description
from tests.standins.standing_in import Act, Answer, Refusal, StandIn

ROUTING_KEY = "routing-key-of-the-test-0123456789"


class PagerDutyStandIn(StandIn):
    def __init__(self, description: Description | None = None) -> None:
        super().__init__(description)
        self.open: dict[str, dict[str, Any]] = {}
        """Key → what the alert says."""
        self.woken: Counter[str] = Counter()
        """Key → how often somebody was."""

    def routes(self) -> list[tuple[str, str, Act]]:
        return [("POST", "/v2/enqueue", self._enqueue)]

    def _enqueue(self, request: Request, event: Any) -> Answer:
        if event["routing_key"] != ROUTING_KEY:
            told = {"status": "invalid event", "message": "Event object is invalid"}
            raise Refusal(400, {**told, "errors": [f"'{event['routing_key']}' is no routing key"]})
        key = event["dedup_key"]
        if event["event_action"] == "resolve":
            self.open.pop(key, None)
        elif key not in self.open:
            self.woken[key] += 1
            self.open[key] = event["payload"]
        return 202, {"status": "success", "message": "Event processed", "dedup_key": key}
