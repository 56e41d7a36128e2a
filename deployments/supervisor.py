"""Starts `recover` where a run died: an armed undo whose fence is free is the sign. Ends runs that nobody approved, and
those that died with nothing armed. Has somebody paged, and visitors told.

A small process beside the worker: `python -m deployments.supervisor`. It looks at the
ledger only; what Prefect thinks of a run proves nothing. Whatever it starts is safe to
start twice.
"""

import logging
import math
import signal
import time
from collections.abc import Callable
from contextlib import closing
from itertools import count
from threading import Event, Thread
from typing import NamedTuple, Protocol

import psycopg

from blocks.errors import BackstopError
from blocks.evidence import Evidence
from blocks.ledger import trail
from blocks.ledger.connection import Connection, connect
from blocks.ledger.dead_runs import end_dead_run, read_dead_runs
from blocks.ledger.fence import Abandoned, read_abandoned
from blocks.process_name import has_died
from deployments.alert_sweep import AlertSweep
from deployments.approval_sweep import tend_approvals
from deployments.prefect_api import FINAL, PrefectApi

SWEEP_SECONDS = 1.0
ALERT_SECONDS = 5.0
"""How often pager and status page are brought to what the ledger says, by a thread of their own: they may be slow."""
PATIENCE_SECONDS = 4.0
"""A run whose ledger was away for a moment takes its own lock back first. One whose process died here does not."""
TEND_SECONDS = 5.0
"""How often runs that wait for an approval, or have no session any more, are looked at."""
DEAD_SECONDS = 15
"""A run without a session for this long is dead."""
REPEAT_SECONDS = 60
"""A recover that came to nothing is started again after this long."""

log = logging.getLogger("supervisor")


class Supervisor:
    def __init__(self) -> None:
        self._abandoned_since: dict[Abandoned, float] = {}
        self._recovers: dict[Abandoned, tuple[Recover, float]] = {}
        self._dead_since: dict[str, float] = {}
        self._tended_at = -math.inf

    def sweep(self, connection: Connection, now: float) -> None:
        """Look once; start `recover` for every environment that has been abandoned for long enough."""
        abandoned = read_abandoned(connection)
        self._abandoned_since = {found: self._abandoned_since.get(found, now) for found in abandoned}
        self._recovers = {found: begun for found, begun in self._recovers.items() if found in abandoned}
        for found, since in self._abandoned_since.items():
            if now - since >= PATIENCE_SECONDS or has_died(found.process):
                self._recover(found, now)
        if now - self._tended_at >= TEND_SECONDS:
            self._tended_at = now
            with closing(PrefectApi()) as api:
                tend_approvals(connection, api)
            self._end_dead_runs(connection, now)

    def _recover(self, found: Abandoned, now: float) -> None:
        last, begun = self._recovers.get(found, (None, -math.inf))
        if now - begun >= REPEAT_SECONDS:
            recover = start_recover(found.environment, found.epoch, last.attempt if last else 0)
            if recover != last:
                log.info("A run died in %s, an undo is armed: recover is run %s", found.environment, recover.run_id)
            self._recovers[found] = (recover, now)

    def _end_dead_runs(self, connection: Connection, now: float) -> None:
        dead = {run.id: run for run in read_dead_runs(connection)}
        self._dead_since = {run_id: self._dead_since.get(run_id, now) for run_id in dead}
        for run_id, since in self._dead_since.items():
            if now - since >= DEAD_SECONDS and end_dead_run(connection, dead[run_id]):
                log.info("Run %s died: %s", run_id, ": ".join(dead[run_id].ending))
                trail.anchor(connection, Evidence.from_surroundings())


class Recover(NamedTuple):
    """A run of it."""

    run_id: str
    attempt: int
    """How many for the same epoch of the environment ended before."""


def start_recover(environment: str, epoch: int, attempt: int = 0) -> Recover:
    """Start `recover` in the environment, unless one for that epoch waits or runs: then it is that one.

    `attempt`: those before it are known to have ended.
    """
    api = PrefectApi()
    deployment = api.read_deployment("recover")
    if deployment is None:
        raise BackstopError("The procedure 'recover' is not deployed.", "Run `backstop apply`.")
    parameters = {"environment": environment, "requested_by": "supervisor"}
    for number in count(attempt):
        run_id = api.create_run(str(deployment["id"]), parameters, f"recover-{environment}-{epoch}-{number}")
        if api.read_state(run_id)["type"] not in FINAL:
            break
    return Recover(run_id, number)


class Sweeper(Protocol):
    def sweep(self, connection: Connection, now: float) -> None: ...


def keep_sweeping(ended: Event, name: str, seconds: float, begin: Callable[[], Sweeper]) -> None:
    """Sweep until `ended` is set. A ledger or a server that is away is tried again, and so is what nobody foresaw."""
    sweeper, connection = begin(), None
    while not ended.wait(seconds):
        try:
            if connection is None or connection.closed:
                connection = connect(name)
                sweeper = begin()
            sweeper.sweep(connection, time.monotonic())
        except Exception as error:
            if isinstance(error, (BackstopError, psycopg.Error, OSError)):
                log.warning("%s", error if isinstance(error, BackstopError) else type(error).__name__)
            else:
                log.exception("%s: a sweep failed in a way that nobody foresaw", name)
            if connection is not None:
                connection.close()


def main() -> None:
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    ended = Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: ended.set())
    alerts = (ended, "alerts", ALERT_SECONDS, AlertSweep)
    Thread(target=keep_sweeping, args=alerts, name="alerts", daemon=True).start()
    keep_sweeping(ended, "supervisor", SWEEP_SECONDS, Supervisor)


if __name__ == "__main__":
    main()
