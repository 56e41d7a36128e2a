"""A process whose every boundary is watched: its ledger, what it asks over HTTP, the programs that it starts."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from tests.blocks.stores.faults import FaultProxy
from tests.drills.ledger_proxy import ledger_proxy
from tests.drills.moments import Place, Recorder, Strike
from tests.drills.program_starts import watching_starts


class Watched(NamedTuple):
    recorder: Recorder
    ledger: str
    """Its URL for the process."""
    starts: int
    """The port where it tells of programs."""


@contextmanager
def watched(ledger: str, proxies: Mapping[Place, FaultProxy], strike: Strike | None = None) -> Iterator[Watched]:
    """`proxies`: those that the process reaches other things through."""
    recorder = Recorder(strike)
    watchers = {place: recorder.watch(place) for place in proxies}
    for place, watcher in watchers.items():
        proxies[place].watchers.append(watcher)
    try:
        with ledger_proxy(ledger, recorder) as url, watching_starts(recorder) as starts:
            yield Watched(recorder, url, starts)
    finally:
        for place, watcher in watchers.items():
            proxies[place].watchers.remove(watcher)
