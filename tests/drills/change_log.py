"""A log of what was changed at a platform that another vendor runs, kept by the proxies before it."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Generator
from typing import ClassVar, NamedTuple

from tests.blocks.stores.faults import FaultProxy, Request
from tests.drills.moments import changes_something
from tests.drills.platform_log import check_splits, is_intended

_HANDLED = range(200, 400)
"""304: it was so already."""
_UNCHANGED = 304


class Change(NamedTuple):
    what: str
    """As `POST /v13/deployments?forceNew=1`; the same words are the same change."""
    status: int
    intended: bool
    """It arrived between the intent and the outcome of an effect of the run that held the environment."""


class ChangeLog(ABC):
    repeatable: ClassVar[tuple[str, ...]]
    """How a change begins that may come more than once: the one that says where all traffic goes."""

    def __init__(self, ledger: str, environment: str, *proxies: FaultProxy) -> None:
        self._ledger, self._environment = ledger, environment
        self.changes: list[Change] = []
        self._splits: list[dict[str, int]] = []
        for proxy in proxies:
            proxy.watchers.append(self._watch)

    def begin(self, split: dict[str, int]) -> None:
        """A new one, of an environment whose traffic is that."""
        self._splits = [split]
        self.changes.clear()

    def check(self, is_done: bool) -> None:
        """Each change was meant, and kept, or undone, exactly once and in order."""
        told = f"the log: {self.changes}, {self._splits}"
        assert all(change.intended for change in self.changes), f"a change that no effect stands for; {told}"
        assert all(change.status in _HANDLED for change in self.changes), f"refused; {told}"
        self._splits += self.read_later_splits()
        asked = Counter(change.what for change in self.changes if change.status != _UNCHANGED)
        twice = [what for what, times in asked.items() if times > 1 and not what.startswith(self.repeatable)]
        assert not twice, f"twice; {told}"
        check_splits(self._splits, is_done, told)

    @abstractmethod
    def read_split(self, request: Request) -> dict[str, int] | None:
        """Where the traffic goes from this request on; None where it says nothing about that."""

    def read_later_splits(self) -> list[dict[str, int]]:
        """Where it went since the log was begun by what no request says."""
        return []

    def describe(self, request: Request) -> str:
        return f"{request.method} {request.path}"

    def _watch(self, request: Request) -> Generator[None, int]:
        if not changes_something(request):
            yield
            return
        intended = is_intended(self._ledger, self._environment)
        status = yield
        self.changes.append(Change(self.describe(request), status, intended))
        if (split := self.read_split(request)) is not None:
            self._splits.append(split)
