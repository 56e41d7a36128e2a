"""A restore onto another server that is killed: the application is on one of both, the other one is as it was."""

from collections.abc import Iterator

import pytest

from tests.blocks.stores.faults import FaultProxy
from tests.drills.choosing import PLACES
from tests.drills.killing import Drill
from tests.drills.moments import Moment, every_moment
from tests.drills.outcome import Practice
from tests.drills.practices import restore_elsewhere, through
from tests.drills.tally import Tally
from tests.flows.moving import Moving, moving_environment
from tests.flows.shop_database import ShopDatabase
from tests.running_stack import RunningStack


@pytest.fixture(scope="module")
def moving(shared_stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moving]:
    shared_stack.mend()
    with moving_environment(shared_stack, tmp_path_factory.mktemp("moving")) as moving:
        yield moving


@pytest.fixture(scope="module")
def backup(moving: Moving) -> str:
    return moving.back_up()


@pytest.fixture
def practice(shop: ShopDatabase, moving: Moving, backup: str, staging_platform: FaultProxy) -> Practice:
    return through(staging_platform, restore_elsewhere(shop, moving, backup))


@pytest.mark.drill
def test_with_roles_made_and_with_the_variable_changed(drill: Drill, practice: Practice, tally: Tally) -> None:
    for what in ("make roles", "switch databases"):
        moment = Moment("after", what=f"effect done {what}")
        with tally.trying(practice.name, "flow", moment) as survived:
            survived(drill.kill(practice, moment))


@pytest.mark.drill
@pytest.mark.timeout(3600)
def test_at_every_moment(drill: Drill, practice: Practice, tally: Tally) -> None:
    for moment in every_moment(drill.read_crossed(practice), *PLACES):
        with tally.trying(practice.name, "flow", moment) as survived:
            survived(drill.kill(practice, moment))
