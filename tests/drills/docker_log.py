"""A log of what was changed at a Docker engine and the Caddy before its releases, kept by the proxies before both."""

import json
from collections import Counter
from collections.abc import Generator
from typing import Any, NamedTuple

from tests.blocks.stores.faults import FaultProxy, Request
from tests.drills.moments import READING
from tests.drills.platform_log import check_splits, is_intended

_HANDLED = range(200, 400)
"""304: it was so already."""
_UNCHANGED = 304


class Change(NamedTuple):
    what: str
    """As `POST /v1.41/containers/3f…/start`."""
    status: int
    intended: bool
    """It arrived between the intent and the outcome of an effect of the run that held the environment."""


class DockerLog:
    def __init__(self, engine: FaultProxy, caddy: FaultProxy, ledger: str, environment: str) -> None:
        self.engine, self.caddy = engine, caddy
        self._ledger, self._environment = ledger, environment
        self.changes: list[Change] = []
        self._splits: list[dict[str, int]] = []
        for proxy in (engine, caddy):
            proxy.watchers.append(self._watch)

    def begin(self, shares: dict[str, int]) -> None:
        """A new one, of a Caddy that shares requests out like that."""
        self._splits = [shares]
        self.changes.clear()

    def check(self, is_done: bool) -> None:
        """Each change was meant, and kept, or undone, exactly once and in order."""
        told = f"the log: {self.changes}, {self._splits}"
        assert all(change.intended for change in self.changes), f"a change that no effect stands for; {told}"
        assert all(change.status in _HANDLED for change in self.changes), f"refused; {told}"
        asked = Counter(change.what for change in self.changes if change.status != _UNCHANGED)
        twice = [what for what, times in asked.items() if times > 1 and not what.startswith("PATCH ")]
        assert not twice, f"twice; {told}"
        check_splits(self._splits, is_done, told)

    def _watch(self, request: Request) -> Generator[None, int]:
        if request.method in READING:
            yield
            return
        intended = is_intended(self._ledger, self._environment)
        status = yield
        self.changes.append(Change(f"{request.method} {request.path}", status, intended))
        if request.method == "PATCH":
            self._splits.append(_shares(json.loads(request.content)))


def _shares(handlers: list[dict[str, Any]]) -> dict[str, int]:
    """Address → share, of the handlers that Caddy was given."""
    proxies = [handler for handler in handlers if handler["handler"] == "reverse_proxy"]
    return dict(Counter(upstream["dial"] for proxy in proxies for upstream in proxy["upstreams"]))
