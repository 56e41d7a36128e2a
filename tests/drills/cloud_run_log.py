"""What was changed at Cloud Run, of which a stand-in takes the part."""

import json

from tests.blocks.stores.faults import Request
from tests.drills.change_log import ChangeLog


class CloudRunLog(ChangeLog):
    """Whatever is changed there is a part of the service: what was asked tells which."""

    repeatable = ("traffic", "scaling")

    def read_split(self, request: Request) -> dict[str, int] | None:
        """A new template leaves the traffic as it was, and so does another scaling."""
        asked = json.loads(request.content)
        if "template" in asked or "traffic" not in asked:
            return None
        return {one["revision"]: one["percent"] for one in asked["traffic"] if one.get("percent")}

    def describe(self, request: Request) -> str:
        asked = json.loads(request.content)
        if "template" in asked:
            return f"template {asked['template'].get('revision')}"
        return f"traffic {asked}" if "traffic" in asked else f"scaling {asked.get('scaling')}"
