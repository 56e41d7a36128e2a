"""Kills by chance: a seed picks procedure, victim and moment, again and again. It is printed, and plays the same again.

BACKSTOP_DRILL_KILLS says how many.
"""

import random
from typing import Final, Literal

import pytest

from tests.drills.beneath import VICTIMS, Beneath, Victim
from tests.drills.choosing import KILLS, SCHEDULE_SEED
from tests.drills.conftest import Practices
from tests.drills.killing import Drill
from tests.drills.moments import Place, every_moment
from tests.drills.tally import Tally
from tests.running_stack import RunningStack

FLOW: Final = "flow"


@pytest.mark.drill
@pytest.mark.timeout(3600)
def test_whatever_is_killed_whenever(
    stack: RunningStack, drilled: Drill, beneath: Beneath, practices: Practices, tally: Tally
) -> None:
    chance = random.Random(SCHEDULE_SEED)
    for _ in range(KILLS):
        practice = practices[chance.choice(sorted(practices))]()
        victims: list[Victim | Literal["flow"]] = [FLOW, *VICTIMS]
        victim = chance.choice(victims)
        places: list[Place] = [] if victim == FLOW else ["ledger"]
        moment = chance.choice(every_moment(drilled.read_crossed(practice), *places))
        with tally.trying(practice.name, f"by chance: {victim}", moment) as survived:
            if victim == FLOW:
                with stack.suspended("supervisor"):
                    survived(drilled.kill(practice, moment))
            else:
                survived(beneath.kill(victim, practice, moment))
