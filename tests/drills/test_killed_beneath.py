"""What a procedure stands on is killed at a write into the ledger: worker and flow, Prefect's server, PostgreSQL.

`make drills` tries more moments than the tests: which ones, BACKSTOP_DRILL_SEED says.
"""

import pytest

from tests.drills.beneath import VICTIMS, Beneath
from tests.drills.choosing import some_moments
from tests.drills.conftest import Practices
from tests.drills.killing import Drill
from tests.drills.tally import Tally

MANY = 4
PROCEDURES = ["deploy", "restore-table"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", PROCEDURES)
def test_at_one_moment_each(drilled: Drill, beneath: Beneath, practices: Practices, tally: Tally, name: str) -> None:
    _kill(drilled, beneath, practices, tally, name, 1)


@pytest.mark.drill
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", [*PROCEDURES, "restore-and-verify", "deploy of a broken release"])
def test_at_many_moments(drilled: Drill, beneath: Beneath, practices: Practices, tally: Tally, name: str) -> None:
    _kill(drilled, beneath, practices, tally, name, MANY)


def _kill(drill: Drill, beneath: Beneath, practices: Practices, tally: Tally, name: str, times: int) -> None:
    practice = practices[name]()
    writes = drill.read_writes(practice)
    for victim in VICTIMS:
        for moment in some_moments(writes, times, f"{name} {victim}"):
            with tally.trying(name, victim, moment) as survived:
                survived(beneath.kill(victim, practice, moment))
