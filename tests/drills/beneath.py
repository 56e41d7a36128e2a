"""What a procedure stands on is killed at a write into the ledger: the worker, Prefect's server, PostgreSQL.

`backstop up` brings it back, as whoever is on call would; the supervisor does the rest.
"""

import os
import signal
from contextlib import suppress
from typing import Literal

import httpx
import psutil

from tests.blocks.platforms.waiting import eventually
from tests.drills.forked import Forked
from tests.drills.moments import Moment, Strike
from tests.drills.outcome import Outcome, Practice, Survived
from tests.drills.watched import Watched, watched
from tests.flows.records import RUN_SECONDS, Records
from tests.running_stack import RunningStack

Victim = Literal["worker and flow", "Prefect's server", "PostgreSQL"]
VICTIMS: tuple[Victim, ...] = ("worker and flow", "Prefect's server", "PostgreSQL")
_SECONDS = 20


class Beneath:
    def __init__(self, stack: RunningStack, forked: Forked, records: Records) -> None:
        self._stack, self._forked, self._records = stack, forked, records
        self._ledger = stack.surroundings["BACKSTOP_LEDGER_URL"]
        self._outcome = Outcome(records, self._ledger)

    def kill(self, victim: Victim, practice: Practice, moment: Moment) -> Survived:
        """Kill it there, bring it back, wait for the run's ending, and look."""
        before, earlier = practice.prepare(), self._records.newest_run(practice.environment)
        by_worker = victim == "worker and flow"
        with watched(self._ledger, {}, self._strike(victim, moment)) as process:
            (self._begin_at_worker if by_worker else self._begin)(practice, process)
            struck = process.recorder.struck.wait(RUN_SECONDS)
            self._stack.run("up")
            ended = None if by_worker else self._forked.result()
            assert struck, f"{moment} never came: {process.recorder.crossed}, {ended}"
        what, run_id = process.recorder.struck_at, self._records.newest_run(practice.environment)
        if run_id == earlier:
            assert practice.look() == before
            return Survived(moment, what, "")
        self._records.wait_for_ending(run_id)
        eventually(lambda: not self._records.armed(practice.environment), RUN_SECONDS)
        ending = self._outcome.check(practice, before, run_id, f"{victim} {moment.side} {what!r}")
        if not practice.variables:  # else what the worker did stands in no log
            self._outcome.check_log(practice, ending)
        return Survived(moment, what, ending)

    def _strike(self, victim: Victim, moment: Moment) -> Strike:
        pids = self._stack.pids()
        if victim == "worker and flow":
            return Strike(moment, lambda _: _kill_with_children(pids["worker"]))
        if victim == "Prefect's server":
            return Strike(moment, lambda _: _kill_with_children(pids["server"]), spares_connection=True)
        return Strike(moment, lambda _: os.kill(pids["postgres"], signal.SIGKILL))

    def _begin(self, practice: Practice, process: Watched) -> None:
        self._forked.variables = self._stack.surroundings
        self._forked.begin(practice.procedure, practice.environment, process, **practice.parameters)

    def _begin_at_worker(self, practice: Practice, process: Watched) -> None:
        """Through Prefect's API; its process reaches the ledger through the proxy."""
        layout = self._stack.layout
        user, _, password = layout.credentials.prefect_login.partition(":")
        with httpx.Client(base_url=layout.api_url, auth=(user, password), timeout=_SECONDS, trust_env=False) as api:
            found = api.get(f"/deployments/name/{practice.procedure}/{practice.procedure}").raise_for_status()
            asked = {
                "parameters": {"environment": practice.environment, **practice.parameters},
                "state": {"type": "SCHEDULED"},
                "job_variables": {"env": {"BACKSTOP_LEDGER_URL": process.ledger}},
            }
            api.post(f"/deployments/{found.json()['id']}/create_flow_run", json=asked).raise_for_status()


def _kill_with_children(pid: int) -> None:
    """The parent first, so that it does not see its children die."""
    process = psutil.Process(pid)
    children = process.children(recursive=True)
    for one in (process, *children):
        with suppress(psutil.NoSuchProcess):
            one.kill()
