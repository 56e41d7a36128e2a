"""Procedures that are killed with SIGKILL before and after whatever crosses a boundary: all is as before, or done.

`make drills` tries every moment, the tests a few of them: which ones, BACKSTOP_DRILL_SEED says.
"""

import pytest

from tests.drills.choosing import PLACES, some
from tests.drills.conftest import Practices
from tests.drills.killing import Drill
from tests.drills.moments import Moment, Place, every_moment
from tests.drills.outcome import Practice
from tests.drills.tally import Tally

PROCEDURES = {
    **dict.fromkeys(("deploy", "deploy of a broken release", "roll-back-deploy", "back-up-database"), 3),
    **dict.fromkeys(("verify-backup", "restore-and-verify", "restore-table"), 3),
    "prune-backups": 2,
    **dict.fromkeys(("undo-restore", "import-dump", "dr-drill, recovery-test"), 1),
    **dict.fromkeys(("rotate-secrets", "rotate-secrets after a breach", "roll-back-rotation"), 1),
}
"""With how many moments of each the tests try."""
ALWAYS = {"undo-restore": [Moment("after", what="effect done switch databases back")]}
"""And with which: here the database of before is live, and nobody may connect to it yet."""
DRILLS_ONLY = [
    "undo-restore-table",
    "undo-restore that would lose writes",
    "rotate-secrets of every kind",
    "rotate-secrets, previous retired",
    "dr-drill, database-loss",
    "dr-drill, service-outage",
    "dr-drill, region-loss",
    "rotate-secrets that fails",
    "rotate-secrets in Actions",
    "rotate-secrets in Secret Manager",
]
STOPPED = ["deploy", "restore-table"]
WIRES: list[Place] = ["ledger", "platform"]
"""Which can be cut. A program that was about to be started is started, as soon as its parent goes on."""


@pytest.fixture
def practice(request: pytest.FixtureRequest, practices: Practices) -> Practice:
    return practices[request.param]()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("practice", PROCEDURES, indirect=True)
def test_at_some_moments(drill: Drill, practice: Practice, tally: Tally) -> None:
    chosen = some(every_moment(drill.read_crossed(practice)), PROCEDURES[practice.name], practice.name)
    for moment in [*ALWAYS.get(practice.name, []), *chosen]:
        with tally.trying(practice.name, "flow", moment) as survived:
            survived(drill.kill(practice, moment))


@pytest.mark.drill
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("practice", [*PROCEDURES, *DRILLS_ONLY], indirect=True)
def test_at_every_moment(drill: Drill, practice: Practice, tally: Tally) -> None:
    for moment in every_moment(drill.read_crossed(practice), *PLACES):
        with tally.trying(practice.name, "flow", moment) as survived:
            survived(drill.kill(practice, moment))


@pytest.mark.drill
@pytest.mark.timeout(3600)
def test_recover_itself_at_every_moment(drill: Drill, practices: Practices, tally: Tally) -> None:
    practice = practices["deploy"]()
    first = Moment("after", what="effect done shift traffic")
    for moment in every_moment(drill.read_recover(practice, first), *PLACES):
        with tally.trying(practice.name, "flow, then recover", moment) as survived:
            survived(drill.kill_recover(practice, first, moment))


@pytest.mark.drill
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", STOPPED)
def test_stopped_and_taken_over_at_every_moment(drill: Drill, practices: Practices, tally: Tally, name: str) -> None:
    """With SIGSTOP: after SIGCONT it does nothing any more."""
    practice = practices[name]()
    for moment in every_moment(drill.read_crossed(practice), *(PLACES or WIRES)):
        with tally.trying(practice.name, "flow, stopped and continued", moment) as survived:
            survived(drill.stop(practice, moment))
