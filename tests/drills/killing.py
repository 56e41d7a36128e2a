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
    parameters: dict[str, object]
    prepare: Callable[[], object]
    """Brings the environment to where the procedure begins; gives back how it looks."""
    look: Callable[[], object]
    is_done: Callable[[], bool]
    """Whether the environment is as the procedure leaves it when it is done."""


class Survived(NamedTuple):
    moment: Moment
    what: str
    """The write, in words."""
    ending: str
    """Empty where the run had not begun yet."""


def read_writes(stack: RunningStack, forked: Forked, practice: Practice) -> list[str]:
    """Those of a run that nobody kills."""
    practice.prepare()
    with ledger_proxy(stack.surroundings["BACKSTOP_LEDGER_URL"]) as proxy:
        ended = forked.run(practice.procedure, practice.environment, proxy, **practice.parameters)
    assert ended["ending"] == "Done", ended["message"]
    return proxy.writes


def moments_of(writes: list[str], sample: int | None, seed: int) -> Iterator[Moment]:
    """Before and after each of them; or so many of those, by the seed."""
    every = [Moment(number, side) for number in range(1, len(writes) + 1) for side in ("before", "after")]
    yield from every if sample is None else sorted(random.Random(seed).sample(every, min(sample, len(every))))


def kill(stack: RunningStack, forked: Forked, records: Records, practice: Practice, moment: Moment) -> Survived:
    """Kill it there, recover, and look: it must have come to one of its endings, in the state that goes with it."""
    before = practice.prepare()
    earlier = records.newest_run(practice.environment)
    with ledger_proxy(stack.surroundings["BACKSTOP_LEDGER_URL"], moment) as proxy:
        forked.run(practice.procedure, practice.environment, proxy, **practice.parameters)
        assert proxy.killed.is_set(), f"{moment} never came"
    run_id = records.newest_run(practice.environment)
    what = proxy.writes[-1]
    if run_id == earlier:
        assert practice.look() == before
        return Survived(moment, what, "")

    recover(stack, forked, records, practice.environment)

    run = records.run(run_id)
    where = f"{moment.side} '{what}' ({moment.number}): {run['ending']}: {run['message']}"
    assert run["ending"] in ("Done", "Refused", "Rolled back"), where
    if run["ending"] == "Done":
        assert practice.is_done(), where
    else:
        assert practice.look() == before, where
    records.assert_settled(practice.environment)
    return Survived(moment, what, run["ending"])


def recover(stack: RunningStack, forked: Forked, records: Records, environment: str) -> None:
    """What the supervisor does, at once: recover where something is armed, and the endings of those that died."""
    if records.armed(environment):
        ended = forked.run("recover", environment)
        assert ended["ending"] == "Done", ended["message"]
    with closing(connect("drill", stack.surroundings["BACKSTOP_LEDGER_URL"])) as connection:
        for dead in read_dead_runs(connection):
            end_dead_run(connection, dead)
