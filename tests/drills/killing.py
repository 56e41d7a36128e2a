"""A procedure that is killed at every write into the ledger, and what became of it."""

import random
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import NamedTuple

from blocks.ledger.connection import connect
from blocks.ledger.dead_runs import end_dead_run, read_dead_runs
from tests.drills.forked import Forked
from tests.drills.ledger_proxy import Moment, ledger_proxy
from tests.flows.records import Records
from tests.running_stack import RunningStack


class Practice(NamedTuple):
    """A procedure, and how its environment looks before and after it."""

    procedure: str
    environment: str
    parameters: dict[str, str]
    prepare: Callable[[], object]
    """Brings the environment to where the procedure begins; gives back how it looks."""
    look: Callable[[], object]
    is_done: Callable[[], bool]
    """Whether the environment is as the procedure leaves it when it is done."""
    ending: str = "Done"
    """Of a run that nobody kills."""


class Survived(NamedTuple):
    moment: Moment
    what: str
    """The write, in words."""
    ending: str
    """Empty where the run had not begun yet."""


def moments_of(writes: list[str], sample: int | None, seed: int) -> Iterator[Moment]:
    """Before and after each of them; or so many of those, by the seed."""
    every = [Moment(number, side) for number in range(1, len(writes) + 1) for side in ("before", "after")]
    yield from every if sample is None else sorted(random.Random(seed).sample(every, min(sample, len(every))))


class Drill:
    def __init__(self, stack: RunningStack, forked: Forked, records: Records) -> None:
        self._stack, self._forked, self._records = stack, forked, records
        self._ledger = stack.surroundings["BACKSTOP_LEDGER_URL"]

    def read_writes(self, practice: Practice) -> list[str]:
        """Those of a run that nobody kills."""
        practice.prepare()
        with ledger_proxy(self._ledger) as proxy:
            ended = self._forked.run(practice.procedure, practice.environment, proxy, **practice.parameters)
        assert ended["ending"] == practice.ending, ended["message"]
        return proxy.writes

    def kill(self, practice: Practice, moment: Moment) -> Survived:
        """Kill it there, recover, and look: it must have come to an ending, in the state that goes with it."""
        before, earlier = practice.prepare(), self._records.newest_run(practice.environment)
        what = self._kill(practice.procedure, practice, moment, **practice.parameters)
        run_id = self._records.newest_run(practice.environment)
        if run_id == earlier:
            assert practice.look() == before
            return Survived(moment, what, "")
        self._recover(practice.environment)
        return Survived(moment, what, self._check(practice, before, run_id, f"{moment.side} {what!r}"))

    def kill_recover(self, practice: Practice, first: Moment, moment: Moment | None) -> list[str] | Survived:
        """Kill it at `first`, then the recover that follows at `moment`; without one, that recover's writes."""
        before = practice.prepare()
        self._kill(practice.procedure, practice, first, **practice.parameters)
        run_id = self._records.newest_run(practice.environment)
        if moment is None:
            with ledger_proxy(self._ledger) as proxy:
                self._forked.run("recover", practice.environment, proxy)
            return proxy.writes
        what = self._kill("recover", practice, moment)
        self._recover(practice.environment)
        return Survived(moment, what, self._check(practice, before, run_id, f"recover {moment.side} {what!r}"))

    def _kill(self, procedure: str, practice: Practice, moment: Moment, **parameters: str) -> str:
        """What it was about to write, or had just written."""
        with ledger_proxy(self._ledger, moment) as proxy:
            self._forked.run(procedure, practice.environment, proxy, **parameters)
            assert proxy.killed.is_set(), f"{moment} never came: {proxy.writes}"
        return proxy.writes[-1]

    def _recover(self, environment: str) -> None:
        """What the supervisor does, at once: recover where something is armed, and the endings of those that died."""
        if self._records.armed(environment):
            ended = self._forked.run("recover", environment)
            assert ended["ending"] == "Done", ended["message"]
        with closing(connect("drill", self._ledger)) as connection:
            for dead in read_dead_runs(connection):
                end_dead_run(connection, dead)

    def _check(self, practice: Practice, before: object, run_id: str, where: str) -> str:
        run = self._records.run(run_id)
        ending = str(run["ending"])
        where = f"{where}: {ending}: {run['message']}"
        assert ending in ("Done", "Refused", "Rolled back", "Needs a human"), where
        if ending == "Done" or (ending == "Needs a human" and practice.is_done()):
            assert practice.is_done(), where
        else:
            assert practice.look() == before, where
        assert ending != "Needs a human" or not self._records.undos(run_id), where
        self._records.assert_settled(practice.environment)
        return ending
