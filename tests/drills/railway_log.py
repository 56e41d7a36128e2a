"""What was changed at Railway, of which a stand-in takes the part."""

import json

from tests.blocks.stores.faults import FaultProxy, Request
from tests.drills.change_log import ChangeLog
from tests.standins.railway import RailwayStandIn


class RailwayLog(ChangeLog):
    """The traffic goes wherever a deployment becomes healthy: the stand-in says when one did."""

    repeatable = ("mutation rollBack",)

    def __init__(self, ledger: str, environment: str, proxy: FaultProxy, railway: RailwayStandIn) -> None:
        super().__init__(ledger, environment, proxy)
        self._railway = railway

    def begin(self, split: dict[str, int]) -> None:
        """Of commits."""
        super().begin(split)
        self._railway.shifts.clear()

    def read_split(self, request: Request) -> None:
        return None

    def read_later_splits(self) -> list[dict[str, int]]:
        return [{commit: 100} for commit in self._railway.shifts]

    def describe(self, request: Request) -> str:
        asked = json.loads(request.content)
        return f"{asked['query'].strip()} {json.dumps(asked['variables'], sort_keys=True)}"
