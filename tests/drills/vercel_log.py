"""What was changed at Vercel, of which a stand-in takes the part."""

from tests.blocks.stores.faults import FaultProxy, Request
from tests.drills.change_log import ChangeLog
from tests.standins.vercel import VercelStandIn


class VercelLog(ChangeLog):
    """The traffic moves once a call was answered, and some say only that it goes on: the stand-in says where to."""

    repeatable = ("POST /v10/", "POST /v1/")

    def __init__(self, ledger: str, environment: str, proxy: FaultProxy, vercel: VercelStandIn) -> None:
        super().__init__(ledger, environment, proxy)
        self._vercel = vercel

    def begin(self, split: dict[str, int]) -> None:
        super().begin(split)
        self._vercel.splits.clear()

    def read_split(self, request: Request) -> None:
        return None

    def read_later_splits(self) -> list[dict[str, int]]:
        return list(self._vercel.splits)
