"""Moments at which a procedure can be struck: before and after whatever crosses a boundary of its process.

What crosses is seen from outside, so a step that is new is one more moment, without being listed anywhere.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event, Lock
from typing import Literal, NamedTuple

from tests.blocks.stores.faults import Request, Watcher

Side = Literal["before", "after"]
Place = Literal["ledger", "platform", "proxy", "store", "sink", "program"]
"""A write that becomes durable in the ledger; a request that changes something at the platform, at the proxy before its
releases, in the store or where a secret must arrive; the start of a program."""
_QUESTION = re.compile(rb'\s*\{"query":\s*"(\\n|\s)*query ')
"""Of GraphQL, where everything is a POST."""


def changes_something(request: Request) -> bool:
    return request.method not in ("GET", "HEAD") and not _QUESTION.match(request.content)


class Moment(NamedTuple):
    """Before or after something crosses: it never arrives, or it has arrived and is never answered."""

    side: Side
    number: int = 0
    """Of what crosses there, counted from 1."""
    what: str = ""
    """Instead of its number: the first that is this, in words."""
    place: Place = "ledger"


class Strike(NamedTuple):
    at: Moment
    blow: Callable[[int], None]
    """Gets the pid of the process; 0 where that is not known."""
    spares_connection: bool = False
    """The process and what it talks to live on: what they say to each other still arrives."""


class Recorder:
    """What crosses the boundaries of one process. It strikes at a moment of that."""

    def __init__(self, strike: Strike | None = None) -> None:
        self._strike = strike
        self._lock = Lock()
        self.crossed: defaultdict[Place, list[str]] = defaultdict(list)
        """In words, in order."""
        self.struck = Event()
        self.struck_at = ""
        """What was crossing then."""
        self.pid = 0
        """Of the process; known once it was started."""

    @contextmanager
    def cross(self, place: Place, what: str) -> Iterator[None]:
        """Around that. Raises EOFError where it is struck: nothing more passes between the two."""
        with self._lock:
            self.crossed[place].append(what)
            number = len(self.crossed[place])
        self._reach(Moment("before", number, what, place))
        yield
        self._reach(Moment("after", number, what, place))

    def watch(self, place: Place) -> Watcher:
        """For a proxy: each request that changes something crosses there."""

        def watch(request: Request) -> Generator[None, int]:
            if not changes_something(request):
                yield
            else:
                with self.cross(place, f"{request.method} {request.path}"):
                    yield

        return watch

    def _reach(self, here: Moment) -> None:
        if self._strike is None or self.struck.is_set() or not _is_at(self._strike.at, here):
            return
        self.struck_at = here.what
        self._strike.blow(self.pid)
        self.struck.set()
        if not self._strike.spares_connection:
            raise EOFError


def _is_at(moment: Moment, here: Moment) -> bool:
    if (moment.side, moment.place) != (here.side, here.place):
        return False
    return here.what == moment.what if moment.what else here.number == moment.number


def every_moment(crossed: Mapping[Place, Sequence[str]], *places: Place) -> list[Moment]:
    """Before and after each of what crossed; everywhere, or only at those places."""
    return [
        Moment(side, number, place=place)
        for place in places or crossed
        for number in range(1, len(crossed[place]) + 1)
        for side in ("before", "after")
    ]
