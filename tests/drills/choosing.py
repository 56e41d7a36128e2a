"""What a drill tries, chosen by a seed: BACKSTOP_DRILL_SEED. The same one chooses the same again."""

import os
import random
import secrets
from collections.abc import Sequence
from typing import cast

from tests.drills.moments import Moment, Place, every_moment

GIVEN = os.environ.get("BACKSTOP_DRILL_SEED", "")
SEED = int(GIVEN or "1")
"""Of the short form, which tries the same each time unless it is told otherwise."""
SCHEDULE_SEED = int(GIVEN) if GIVEN else secrets.randbelow(1_000_000)
"""Of the random schedule, which tries something else each time."""
PLACES = cast("list[Place]", os.environ.get("BACKSTOP_DRILL_PLACES", "").split())
"""Of the long form: the boundaries that it tries; none: every one."""
KILLS = int(os.environ.get("BACKSTOP_DRILL_KILLS", "40"))
"""How many the random schedule makes."""


def moments_with_undos(writes: Sequence[str]) -> list[Moment]:
    """Those at which something is armed: from the first undo that is to the last that is struck out or carried out."""
    about = [number for number, what in enumerate(writes, 1) if what.startswith("undo ")]
    return [moment for moment in every_moment({"ledger": writes}) if about[0] <= moment.number <= about[-1]][1:-1]


def some(every: Sequence[Moment], count: int, about: str) -> list[Moment]:
    """So many of them, by the seed; `about` has different drills choose differently."""
    chosen = random.Random(f"{SEED} {about}").sample(every, min(count, len(every)))
    return sorted(chosen, key=every.index)
