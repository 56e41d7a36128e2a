"""A stand-in for Sentry's release health: sessions by release, environment and status."""

from collections import Counter
from datetime import datetime
from typing import Any

from starlette.requests import Request

from tests.standins.description import Description
from tests.standins.standing_in import Act, Answer, Refusal, StandIn

ORGANIZATION, PROJECT, TOKEN = "example", "shop", "sentry-token-of-the-test"
_STATUSES = ("abnormal", "crashed", "errored", "healthy")


class SentryStandIn(StandIn):
    def __init__(self, description: Description) -> None:
        super().__init__(description)
        self.sessions: Counter[tuple[str, str, str]] = Counter()
        """Release, environment and status → how many."""

    def routes(self) -> list[tuple[str, str, Act]]:
        return [("GET", f"/api/0/organizations/{ORGANIZATION}/sessions/", self._sessions)]

    def _sessions(self, request: Request, asked: Any) -> Answer:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise Refusal(401, {"detail": "Invalid token"})
        query = request.query_params
        began, ends = (datetime.fromisoformat(query[name]) for name in ("start", "end"))
        if began > ends or query["interval"] not in ("1h", "1d") or query["project"] != PROJECT:
            raise Refusal(400, {"detail": "start must be before end"})
        wanted = (query["query"].removeprefix("release:").strip('"'), query["environment"])
        known = any(key[:2] == wanted for key in self.sessions)
        counts = {status: self.sessions[(*wanted, status)] for status in _STATUSES} if known else {}
        return 200, {
            "start": f"{began:%FT%H}:00:00Z",
            "end": query["end"],
            "intervals": [f"{began:%FT%H}:00:00Z"],
            "query": query["query"],
            "groups": [
                {
                    "by": {query["groupBy"]: status},
                    "totals": {query["field"]: count},
                    "series": {query["field"]: [count]},
                }
                for status, count in counts.items()
            ],
        }
