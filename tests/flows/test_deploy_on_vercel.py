"""The same flow, unchanged, on Vercel, whose part a stand-in takes: all users at once, and back at once."""

import time
from collections.abc import Iterator

import pytest

from tests.flows.elsewhere import KEEN
from tests.flows.environments import QUICK
from tests.flows.hosted import ENVIRONMENT, Hosted, hosted_shop
from tests.flows.interface import Interface
from tests.flows.production import GOOD, Production
from tests.flows.records import Records
from tests.running_stack import RunningStack
from tests.secret_search import find_at_stack, find_in_files, find_secrets, watched_command_lines
from tests.standins.vercel import TOKEN

IN_STAGES = "shop-hosted-in-stages"
BETTER, BAD = "v1.1.0", "v1.3.0"

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def hosted(shared_production: Production, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosted]:
    shared_production.reset()
    with hosted_shop(shared_production, GOOD, tmp_path_factory.mktemp("hosted")) as hosted:
        hosted.apply(hosted.platform)
        yield hosted
    shared_production.reset()


def test_a_good_release_gets_all_traffic_and_a_bad_one_is_rolled_back(
    stack: RunningStack, shared_production: Production, hosted: Hosted, records: Records
) -> None:
    began = time.time()

    with watched_command_lines() as shown:
        done = stack.run_procedure("deploy", ENVIRONMENT, version=BETTER)

    assert done["ending"] == "Done", done["message"]
    assert hosted.versions_with_traffic() == {BETTER}
    assert shared_production.answering_version() == BETTER
    assert shared_production.unplanned_failures(began) == []
    assert any("prefect" in line for line in shown), "command lines were seen"
    assert find_secrets({"the token": TOKEN}, "a command line", "\n".join(shown).encode()) == []

    keen = hosted.apply_keen()
    bad = stack.run_procedure("deploy", keen, version=BAD)

    assert (bad["ending"], bad["exit_code"]) == ("Rolled back", 3), bad["message"]
    assert "1.0% are allowed" in bad["message"]
    assert "shift traffic" in records.effects(bad["run"]), "visitors met it"
    assert hosted.versions_with_traffic() == {BETTER}
    assert shared_production.answering_version() == BETTER
    assert shared_production.unplanned_failures(began) == []
    records.assert_settled(keen)


@pytest.mark.drill
def test_with_rolling_releases_it_goes_through_the_projects_stages(
    stack: RunningStack, shared_production: Production, hosted: Hosted, records: Records, interface: Interface
) -> None:
    stages = [25, 50, 100]
    began = time.time()
    quick = {**QUICK, "rollout": {**QUICK["rollout"], "steps": stages}}
    keen = {**KEEN, "rollout": {**KEEN["rollout"], "steps": stages, "step_seconds": 30}}
    with hosted.in_stages(stages) as shop:
        shop.apply(shop.platform, IN_STAGES, **quick)
        hosted.vercel.splits.clear()
        done = stack.run_procedure("deploy", IN_STAGES, version=GOOD)

        assert done["ending"] == "Done", done["message"]
        assert [list(one.values()) for one in hosted.vercel.splits] == [[75, 25], [50, 50], [100]]
        assert shared_production.answering_version() == GOOD

        shop.apply(shop.platform, IN_STAGES, **keen)
        hosted.vercel.splits.clear()
        bad = stack.run_procedure("deploy", IN_STAGES, version=BAD)

        assert (bad["ending"], bad["exit_code"]) == ("Rolled back", 3), bad["message"]
        assert "1.0% are allowed" in bad["message"]
        assert [list(one.values()) for one in hosted.vercel.splits] == [[75, 25], [100]], "not beyond the first stage"
        assert shop.versions_with_traffic() == {GOOD}
        assert shared_production.unplanned_failures(began) == []
        records.assert_settled(IN_STAGES)

        shop.vercel.stages = [10, 100]
        refused = stack.run_procedure("deploy", IN_STAGES, version=BETTER)

        assert (refused["ending"], refused["exit_code"]) == ("Refused", 1)
        assert "The project's stages are [10, 100], and rollout.steps is [25, 50, 100]." in refused["message"]


def test_the_plan_says_what_vercel_cannot_do(stack: RunningStack, hosted: Hosted, interface: Interface) -> None:
    planned = stack.run_procedure("deploy", ENVIRONMENT, version=BETTER, plan_only=True)

    assert planned["ending"] == "Done", planned["message"]
    plan = interface.artifacts(planned["run"])["plan"]
    assert "No gradual shift here: 0 → 100 %." in plan
    assert "Nothing is stopped here" in plan


def test_its_token_is_nowhere(stack: RunningStack, hosted: Hosted) -> None:
    assert find_at_stack({"Vercel's token": TOKEN}, stack) == []
    assert find_in_files({"Vercel's token": TOKEN}, hosted.folder) == ["token: Vercel's token (plain)"], (
        "it is searched"
    )
