"""Procedures that are killed with SIGKILL before and after every write into the ledger: all is as before, or done.

`make drills` tries every moment, the tests a few of them: which ones, BACKSTOP_DRILL_SEED says.
"""

import pytest

from tests.drills.choosing import every_moment, some
from tests.drills.conftest import Practices
from tests.drills.killing import Drill
from tests.drills.ledger_proxy import Moment
from tests.drills.outcome import Practice
from tests.drills.tally import Tally

SOME = 3
PROCEDURES = [
    *("deploy", "deploy of a broken release", "roll-back-deploy", "back-up-database", "verify-backup"),
    *("restore-and-verify", "restore-table"),
]
STOPPED = ["deploy", "restore-table"]


@pytest.fixture(params=PROCEDURES)
def practice(request: pytest.FixtureRequest, practices: Practices) -> Practice:
    return practices[request.param]()


@pytest.mark.timeout(600)
def test_at_some_moments(drill: Drill, practice: Practice, tally: Tally) -> None:
    for moment in some(every_moment(drill.read_writes(practice)), SOME, practice.name):
        with tally.trying(practice.name, "flow", moment) as survived:
            survived(drill.kill(practice, moment))


@pytest.mark.drill
@pytest.mark.timeout(3600)
def test_at_every_moment(drill: Drill, practice: Practice, tally: Tally) -> None:
    for moment in every_moment(drill.read_writes(practice)):
        with tally.trying(practice.name, "flow", moment) as survived:
            survived(drill.kill(practice, moment))


@pytest.mark.drill
@pytest.mark.timeout(3600)
def test_recover_itself_at_every_moment(drill: Drill, practices: Practices, tally: Tally) -> None:
    practice = practices["deploy"]()
    first = Moment("after", what="effect done shift traffic")
    for moment in every_moment(drill.read_recover(practice, first)):
        with tally.trying(practice.name, "flow, then recover", moment) as survived:
            survived(drill.kill_recover(practice, first, moment))


@pytest.mark.drill
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", STOPPED)
def test_stopped_and_taken_over_at_every_moment(drill: Drill, practices: Practices, tally: Tally, name: str) -> None:
    """With SIGSTOP: after SIGCONT it does nothing any more."""
    practice = practices[name]()
    for moment in every_moment(drill.read_writes(practice)):
        with tally.trying(practice.name, "flow, stopped and continued", moment) as survived:
            survived(drill.stop(practice, moment))
