"""A log of what was changed at Vercel, of which a stand-in takes the part, kept by the proxy before it."""

import re
from collections.abc import Generator
from typing import NamedTuple

from blocks.platforms.interface import Split
from tests.blocks.stores.faults import FaultProxy, Request
from tests.drills.moments import READING
from tests.drills.platform_log import check_splits, is_intended

_ACCEPTED = range(200, 300)
_TRAFFIC = re.compile(r"/(promote|rollback)/(\w+)\?")


class Change(NamedTuple):
    what: str
    """As `POST /v13/deployments?forceNew=1`."""
    status: int
    intended: bool
    """It arrived between the intent and the outcome of an effect of the run that held the environment."""


class VercelLog:
    def __init__(self, proxy: FaultProxy, ledger: str, environment: str) -> None:
        self._ledger, self._environment = ledger, environment
        self.changes: list[Change] = []
        self._splits: list[Split] = []
        proxy.watchers.append(self._watch)

    def begin(self, before: Split) -> None:
        """A new one, of a project whose traffic is that."""
        self._splits = [before]
        self.changes.clear()

    def check(self, is_done: bool) -> None:
        """Each change was meant, and kept, or undone, exactly once and in order."""
        told = f"the log: {self.changes}"
        assert all(change.intended for change in self.changes), f"a change that no effect stands for; {told}"
        assert all(change.status in _ACCEPTED for change in self.changes), f"refused; {told}"
        started = [change for change in self.changes if "/v13/deployments" in change.what]
        assert len(started) <= 1, f"started twice; {told}"
        check_splits(self._splits, is_done, told)

    def _watch(self, request: Request) -> Generator[None, int]:
        if request.method in READING:
            yield
            return
        intended = is_intended(self._ledger, self._environment)
        status = yield
        self.changes.append(Change(f"{request.method} {request.path}", status, intended))
        if found := _TRAFFIC.search(request.path):
            self._splits.append({found[2]: 100})
