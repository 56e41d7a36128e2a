"""A log of what was changed at a sandbox platform, by whom ever, kept by the proxy before it: the platform's own view.

The ledger tells what Backstop meant to do. Here stands what arrived: an undo that came twice, or one of what never
happened, leaves the environment as it should be and is seen here all the same. So is a change that the ledger did
not know of when it arrived.
"""

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from itertools import pairwise
from typing import Any, NamedTuple

import httpx

from blocks.ledger.connection import connect
from blocks.platforms.interface import Split
from tests.blocks.stores.faults import FaultProxy, Request
from tests.drills.moments import changes_something

_SECONDS = 30
_OK = range(200, 300)
_LAST_EFFECT = (
    "SELECT event FROM audit JOIN environment ON environment.run_id = audit.run_id"
    " WHERE name = %s AND event LIKE 'effect %%' ORDER BY sequence DESC LIMIT 1"
)
"""Of whoever holds the environment at this moment."""


class Change(NamedTuple):
    path: str
    """As `/traffic` or `/releases/v1-1-0-3/stop`."""
    asked: Any
    accepted: bool
    in_vain: bool
    """It stopped what was stopped."""
    intended: bool
    """It arrived between the intent and the outcome of an effect of the run that held the environment."""


def is_intended(ledger: str, environment: str) -> bool:
    """Whether the run that holds the environment has an effect under way."""
    with closing(connect("drill", ledger)) as connection:
        last = connection.execute(_LAST_EFFECT, [environment]).fetchone()
    return last is not None and last["event"] == "effect intended"


def check_splits(splits: Sequence[Mapping[str, int]], is_done: bool, told: str) -> None:
    """From the one before: each was kept, or taken back exactly once."""
    assert all(now != then for then, now in pairwise(splits)), f"traffic given twice; {told}"
    undone = 0 if is_done or len(splits) == 1 else 1
    assert splits.count(splits[0]) == 1 + undone, f"not {undone} times taken back; {told}"
    assert is_done or splits[-1] == splits[0], f"changed after it was taken back; {told}"


class PlatformLog:
    def __init__(self, proxy: FaultProxy, ledger: str, environment: str) -> None:
        self.proxy = proxy
        self._ledger, self._environment = ledger, environment
        self._before: Split = {}
        self.changes: list[Change] = []
        """In the order in which the platform made them."""
        proxy.watchers.append(self._watch)

    def begin(self, before: Split) -> None:
        """A new one, of an environment whose traffic is that."""
        self._before = before
        self.changes.clear()

    def check(self, is_done: bool) -> None:
        """Each change was meant, and kept, or undone, exactly once and in order."""
        splits = [self._before, *(change.asked["split"] for change in self.changes if change.path == "/traffic")]
        told = f"the platform's log: {self.changes}"
        assert all(change.intended for change in self.changes), f"a change that no effect stands for; {told}"
        check_splits(splits, is_done, told)
        assert not self._started_twice(), f"started twice; {told}"
        assert not any(change.in_vain for change in self.changes), f"stopped twice; {told}"
        assert all(change.accepted for change in self.changes), f"refused; {told}"

    def _started_twice(self) -> bool:
        """One that was stopped may be started once more: of one that runs nobody knows which variables it has."""
        started = set[str]()
        for change in self.changes:
            release, _, what = change.path.rpartition("/")
            name = release if what in ("scale", "stop") else str(change.asked)
            if what == "stop":
                started.discard(name)
            elif what in ("scale", "releases"):
                if name in started:
                    return True
                started.add(name)
        return False

    def _watch(self, request: Request) -> Generator[None, int]:
        if not changes_something(request):
            yield
            return
        in_vain = request.path.endswith("/stop") and self._is_stopped(request)
        intended = is_intended(self._ledger, self._environment)
        status = yield
        asked = json.loads(request.content or b"{}")
        self.changes.append(Change(request.path, asked, status in _OK, in_vain, intended))

    def _is_stopped(self, stop: Request) -> bool:
        address = self.proxy.upstream + stop.path.removesuffix("/stop")
        authorization = {"Authorization": stop.headers["Authorization"]}
        answer = httpx.get(address, headers=authorization, timeout=_SECONDS, trust_env=False)
        return bool(answer.json()["state"] == "stopped")
