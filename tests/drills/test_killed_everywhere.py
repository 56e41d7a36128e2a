"""Procedures that are killed with SIGKILL before and after every write into the ledger: all is as before, or done.

`make drills` tries every moment, the tests a few of them: which ones, BACKSTOP_DRILL_SEED says.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from tests.drills import practices
from tests.drills.forked import Forked, forked_procedures
from tests.drills.killing import Drill, Practice, Survived, moments_of
from tests.drills.ledger_proxy import Moment
from tests.flows.production import Production
from tests.flows.records import Records
from tests.flows.shop_database import ShopDatabase
from tests.running_stack import RunningStack

SEED = int(os.environ.get("BACKSTOP_DRILL_SEED", "1"))
SOME = 5
PROCEDURES = [
    *("deploy", "deploy-of-a-broken-release", "roll-back-deploy", "back-up-database", "restore-and-verify"),
    "restore-table",
]


@pytest.fixture(scope="module")
def forked(shared_stack: RunningStack) -> Iterator[Forked]:
    shared_stack.run("up")
    with forked_procedures(shared_stack.surroundings) as forked:
        yield forked


@pytest.fixture(scope="module")
def backup(shared_stack: RunningStack) -> str:
    """Of staging, proven."""
    shared_stack.run("up")
    return ShopDatabase(shared_stack).back_up()


@pytest.fixture
def drill(stack: RunningStack, forked: Forked, records: Records) -> Iterator[Drill]:
    """Without the supervisor: what it would do is done at once."""
    with stack.suspended("supervisor"):
        yield Drill(stack, forked, records)


@pytest.fixture(params=PROCEDURES)
def practice(request: pytest.FixtureRequest, production: Production, shop: ShopDatabase, backup: str) -> Practice:
    made: dict[str, Callable[[], Practice]] = {
        "deploy": partial(practices.deploy, production),
        "deploy-of-a-broken-release": partial(practices.deploy_of_a_broken_release, production),
        "roll-back-deploy": partial(practices.roll_back_deploy, production),
        "back-up-database": partial(practices.back_up_database, shop),
        "restore-and-verify": partial(practices.restore_and_verify, shop, backup),
        "restore-table": partial(practices.restore_table, shop, backup),
    }
    return made[request.param]()


@pytest.mark.timeout(300)
def test_at_some_moments(drill: Drill, practice: Practice) -> None:
    for moment in moments_of(drill.read_writes(practice), SOME, SEED):
        tell(practice, drill.kill(practice, moment))


@pytest.mark.drill
@pytest.mark.timeout(3600)
def test_at_every_moment(drill: Drill, practice: Practice) -> None:
    for moment in moments_of(drill.read_writes(practice), None, SEED):
        tell(practice, drill.kill(practice, moment))


@pytest.mark.drill
@pytest.mark.timeout(3600)
def test_recover_itself_at_every_moment(drill: Drill, production: Production) -> None:
    practice = practices.deploy(production)
    shifted = drill.read_writes(practice).index("effect done shift traffic") + 1
    first = Moment(shifted, "after")
    writes = drill.kill_recover(practice, first, None)
    assert isinstance(writes, list)
    for moment in moments_of(writes, None, SEED):
        survived = drill.kill_recover(practice, first, moment)
        assert isinstance(survived, Survived)
        tell(practice, survived)


def tell(practice: Practice, survived: Survived) -> None:
    side, what = survived.moment.side, survived.what
    print(f"{practice.procedure}: killed {side} '{what}': {survived.ending or 'not begun'}", flush=True)
