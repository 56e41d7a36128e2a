"""The same flow, unchanged, on Railway, whose part a stand-in takes: what is started takes the traffic by itself."""

import time
from collections.abc import Iterator

import pytest

from tests.flows.interface import Interface
from tests.flows.production import GOOD, Production
from tests.flows.railed import ENVIRONMENT, Railed, railed_shop
from tests.flows.records import Records
from tests.running_stack import RunningStack
from tests.secret_search import find_at_stack, find_in_files, find_secrets, watched_command_lines
from tests.standins.railway import TOKEN

BETTER, BAD = "v1.1.0", "v1.3.0"

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def railed(shared_production: Production, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Railed]:
    shared_production.reset()
    with railed_shop(shared_production, GOOD, tmp_path_factory.mktemp("railed")) as railed:
        railed.apply(railed.platform)
        yield railed
    shared_production.reset()


@pytest.mark.drill
def test_a_good_release_gets_all_traffic_and_a_bad_one_is_rolled_back(
    stack: RunningStack, shared_production: Production, railed: Railed, records: Records
) -> None:
    began = time.time()

    with watched_command_lines() as shown:
        done = stack.run_procedure("deploy", ENVIRONMENT, version=BETTER)

    assert done["ending"] == "Done", done["message"]
    assert railed.versions_with_traffic() == {BETTER}
    assert shared_production.answering_version() == BETTER
    assert shared_production.unplanned_failures(began) == []
    assert any("prefect" in line for line in shown), "command lines were seen"
    assert find_secrets({"the token": TOKEN}, "a command line", "\n".join(shown).encode()) == []

    keen = railed.apply_keen()
    bad = stack.run_procedure("deploy", keen, version=BAD)

    assert (bad["ending"], bad["exit_code"]) == ("Rolled back", 3), bad["message"]
    assert "1.0% are allowed" in bad["message"]
    assert railed.versions_with_traffic() == {BETTER}
    assert shared_production.answering_version() == BETTER
    assert shared_production.unplanned_failures(began) == []

    records.assert_settled(keen)

    back = stack.run_procedure("roll-back-deploy", ENVIRONMENT, to=GOOD)

    assert back["ending"] == "Done", back["message"]
    assert railed.versions_with_traffic() == {GOOD}
    records.assert_settled(ENVIRONMENT)


def test_the_plan_says_what_railway_cannot_do(stack: RunningStack, railed: Railed, interface: Interface) -> None:
    planned = stack.run_procedure("deploy", ENVIRONMENT, version=BETTER, plan_only=True)

    assert planned["ending"] == "Done", planned["message"]
    plan = interface.artifacts(planned["run"])["plan"]
    assert "No gradual shift here: 0 → 100 %." in plan
    assert "Starting is shifting here" in plan


def test_its_token_is_nowhere(stack: RunningStack, railed: Railed) -> None:
    assert find_at_stack({"Railway's token": TOKEN}, stack) == []
    assert find_in_files({"Railway's token": TOKEN}, railed.folder) == ["token: Railway's token (plain)"], (
        "it is searched"
    )
