"""What was changed at Cloud Run, of which a stand-in takes the part."""

import json

from tests.blocks.stores.faults import Request
from tests.drills.change_log import ChangeLog


class CloudRunLog(ChangeLog):
    """Whatever is changed there is a part of the service: what was asked tells which."""

    repeatable = ("traffic",)

    def read_split(self, request: Request) -> dict[str, int] | None:
        """A new template leaves the traffic as it was."""
        asked = json.loads(request.content)
        if "template" in asked:
            return None
        return {one["revision"]: one["percent"] for one in asked["traffic"] if one.get("percent")}

    def describe(self, request: Request) -> str:
        asked = json.loads(request.content)
        return f"template {asked['template'].get('revision')}" if "template" in asked else f"traffic {asked}"
