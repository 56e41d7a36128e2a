"""The same flow, unchanged, on a real Docker engine."""

import time
from collections.abc import Iterator

import pytest

from tests.blocks.platforms.engine import require_engine
from tests.flows.docked import ENVIRONMENT, Docked, docked_shop
from tests.flows.production import GOOD, Production
from tests.flows.records import Records
from tests.running_stack import RunningStack

BETTER, BAD = "v1.1.0", "v1.6.0"

pytestmark = [pytest.mark.drill, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def docked(shared_production: Production, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docked]:
    require_engine()
    with docked_shop(shared_production, [GOOD, BETTER, BAD], tmp_path_factory.mktemp("docked")) as docked:
        yield docked


def test_a_good_release_gets_all_traffic_and_a_bad_one_is_rolled_back(
    stack: RunningStack, docked: Docked, records: Records
) -> None:
    (old,), began = docked.platform.read_traffic(), time.time()

    done = stack.run_procedure("deploy", ENVIRONMENT, version=BETTER)

    assert done["ending"] == "Done", done["message"]
    (new,) = docked.platform.read_traffic()
    assert new != old
    assert docked.read(new).version == BETTER
    assert docked.running() == {old, new}, "the one before is kept warm"
    assert docked.unplanned_failures(began) == []

    bad = stack.run_procedure("deploy", ENVIRONMENT, version=BAD)

    assert (bad["ending"], bad["exit_code"]) == ("Rolled back", 3), bad["message"]
    assert docked.platform.read_traffic() == {new: 100}
    assert docked.running() == {old, new}
    assert docked.unplanned_failures(began) == []
    records.assert_settled(ENVIRONMENT)
