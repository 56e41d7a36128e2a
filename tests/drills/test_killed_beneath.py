"""What a procedure stands on is killed at a write into the ledger: worker and flow, Prefect's server, PostgreSQL.

`make drills` tries more moments than the tests: which ones, BACKSTOP_DRILL_SEED says.
"""

import pytest

from tests.drills.beneath import VICTIMS, Beneath, Victim
from tests.drills.choosing import moments_with_undos, some
from tests.drills.conftest import Practices
from tests.drills.killing import Drill
from tests.drills.moments import every_moment
from tests.drills.tally import Tally

MANY = 4
PROCEDURES = ["deploy", "restore-table"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("name", PROCEDURES)
def test_while_something_is_armed(
    drilled: Drill, beneath: Beneath, practices: Practices, tally: Tally, name: str, victim: Victim
) -> None:
    practice = practices[name]()
    for moment in some(moments_with_undos(drilled.read_crossed(practice)["ledger"]), 1, f"{name} {victim}"):
        with tally.trying(name, victim, moment) as survived:
            survived(beneath.kill(victim, practice, moment))


@pytest.mark.drill
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("name", [*PROCEDURES, "restore-and-verify", "deploy of a broken release"])
def test_at_many_moments(
    drilled: Drill, beneath: Beneath, practices: Practices, tally: Tally, name: str, victim: Victim
) -> None:
    practice = practices[name]()
    for moment in some(every_moment(drilled.read_crossed(practice), "ledger"), MANY, f"{name} {victim}"):
        with tally.trying(name, victim, moment) as survived:
            survived(beneath.kill(victim, practice, moment))
