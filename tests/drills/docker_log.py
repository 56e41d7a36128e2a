"""What was changed at a Docker engine and the Caddy before its releases."""

import json
from collections import Counter

from tests.blocks.stores.faults import Request
from tests.drills.change_log import ChangeLog


class DockerLog(ChangeLog):
    repeatable = ("PATCH ",)

    def read_split(self, request: Request) -> dict[str, int] | None:
        """Address → share, of the handlers that Caddy is given."""
        if request.method != "PATCH":
            return None
        proxies = [handler for handler in json.loads(request.content) if handler["handler"] == "reverse_proxy"]
        return dict(Counter(upstream["dial"] for proxy in proxies for upstream in proxy["upstreams"]))
