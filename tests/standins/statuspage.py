"""A stand-in for Statuspage: the incidents of one page, of which maintenances are a kind."""

from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request

from tests.standins.description import Description
from tests.standins.standing_in import Act, Answer, Refusal, StandIn

PAGE, KEY = "gytm4qzbx9t6", "statuspage-key-of-the-test"


_OF_AN_INCIDENT = ("investigating", "identified", "monitoring")


class StatuspageStandIn(StandIn):
    def __init__(self, description: Description | None = None) -> None:
        super().__init__(description)
        self.incidents: list[dict[str, Any]] = []
        """Newest first."""

    def routes(self) -> list[tuple[str, str, Act]]:
        incidents = f"/v1/pages/{PAGE}/incidents"
        return [
            ("GET", incidents, self._list),
            ("GET", f"{incidents}/unresolved", self._list_unresolved),
            ("POST", incidents, self._create),
            ("PATCH", f"{incidents}/{{incident}}", self._update),
        ]

    def unresolved(self) -> list[dict[str, Any]]:
        return [one for one in self.incidents if one["status"] in _OF_AN_INCIDENT]

    def under_way(self) -> list[dict[str, Any]]:
        """Maintenances."""
        return [one for one in self.incidents if one["status"] == "in_progress"]

    def _list(self, request: Request, asked: Any) -> Answer:
        _require_access(request)
        return 200, self.incidents

    def _list_unresolved(self, request: Request, asked: Any) -> Answer:
        _require_access(request)
        return 200, self.unresolved()

    def _create(self, request: Request, asked: Any) -> Answer:
        _require_access(request)
        wanted = asked["incident"]
        planned = {name: wanted[name] for name in ("scheduled_for", "scheduled_until") if name in wanted}
        if bool(planned) != (wanted["status"] not in _OF_AN_INCIDENT):
            raise Refusal(422, {"error": "The status is none of such an incident"})
        made = {
            "id": f"incident{len(self.incidents)}",
            "name": wanted["name"],
            "status": wanted["status"],
            "impact": wanted["impact_override"],
            "impact_override": wanted["impact_override"],
            "metadata": wanted.get("metadata", {}),
            "created_at": datetime.now(UTC).isoformat(),
            "page_id": PAGE,
            "incident_updates": [{"status": wanted["status"], "body": wanted["body"]}],
            **planned,
            "components": [{"id": one} for one in wanted.get("component_ids", [])],
        }
        self.incidents.insert(0, made)
        return 201, made

    def _update(self, request: Request, asked: Any) -> Answer:
        _require_access(request)
        (found,) = [one for one in self.incidents if one["id"] == request.path_params["incident"]]
        found["status"] = asked["incident"]["status"]
        found["incident_updates"].insert(0, asked["incident"])
        return 200, found


def _require_access(request: Request) -> None:
    if request.headers.get("Authorization") != f"OAuth {KEY}":
        raise Refusal(401, {"error": "Could not authenticate"})
