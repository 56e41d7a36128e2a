"""The same flow, unchanged, on Cloud Run, whose part a stand-in takes: by percent, and back at once."""

import json
import time
from collections.abc import Iterator

import pytest

from deployments.shop.visits import read_visits
from tests.flows.elsewhere import BACKED_UP
from tests.flows.on_cloud_run import ENVIRONMENT, KEY, OnCloudRun, shop_on_cloud_run
from tests.flows.production import GOOD, Production
from tests.flows.records import Records
from tests.running_stack import RunningStack
from tests.secret_search import find_at_stack, find_in_files, find_secrets, watched_command_lines
from tests.standins.google_token import TOKEN_MARK

BETTER, BAD, WITH_MIGRATION = "v1.1.0", "v1.3.0", "v2.0.0"

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def shop(shared_production: Production, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnCloudRun]:
    shared_production.reset()
    with shop_on_cloud_run(shared_production, GOOD, tmp_path_factory.mktemp("on-cloud-run")) as shop:
        shop.apply(shop.platform, **BACKED_UP)
        yield shop
        shop.apply(shop.platform)
    shared_production.reset()


def test_a_good_release_gets_its_traffic_by_percent_and_a_bad_one_is_rolled_back(
    stack: RunningStack, shared_production: Production, shop: OnCloudRun, records: Records
) -> None:
    began = time.time()

    with watched_command_lines() as shown:
        done = stack.run_procedure("deploy", ENVIRONMENT, version=BETTER)

    assert done["ending"] == "Done", done["message"]
    assert shop.versions_with_traffic() == {BETTER}
    assert shared_production.answering_version() == BETTER
    assert [sorted(one.values()) for one in shop.cloud_run.splits[-2:]] == [[50, 50], [100]]
    assert shared_production.unplanned_failures(began) == []
    assert any("prefect" in line for line in shown), "command lines were seen"
    assert find_secrets({"a token": TOKEN_MARK}, "a command line", "\n".join(shown).encode()) == []

    keen = shop.apply_keen()
    bad = stack.run_procedure("deploy", keen, version=BAD)

    assert (bad["ending"], bad["exit_code"]) == ("Rolled back", 3), bad["message"]
    assert "1.0% are allowed" in bad["message"]
    assert "shift traffic" in records.effects(bad["run"]), "visitors met it"
    assert shop.versions_with_traffic() == {BETTER}
    assert shared_production.answering_version() == BETTER
    assert shared_production.unplanned_failures(began) == []
    records.assert_settled(keen)


@pytest.mark.drill
def test_while_a_migration_stops_writes_nobody_is_let_in_and_the_scaling_of_before_comes_back(
    stack: RunningStack, shared_production: Production, shop: OnCloudRun, records: Records
) -> None:
    for procedure in ("back-up-database", "verify-backup"):
        made = stack.run_procedure(procedure, ENVIRONMENT)
        assert made["ending"] == "Done", made["message"]
    shop.run_alone(BETTER)
    shop.cloud_run.spec["scaling"] = {"minInstanceCount": 1, "maxInstanceCount": 5}
    before, began = json.dumps(shop.cloud_run.spec), time.time()

    done = stack.run_procedure("migrate-with-backup", ENVIRONMENT, version=WITH_MIGRATION, stop_writes="yes")

    assert done["ending"] == "Done", done["message"]
    assert shared_production.has_due_dates()
    told = ["enter maintenance", "stop writes", "apply migrations", "resume writes", "leave maintenance"]
    assert [effect for effect in records.effects(done["run"]) if effect in told] == told
    assert json.dumps(shop.cloud_run.spec) == before
    assert shared_production.answering_version() == BETTER
    visits = list(read_visits(stack.layout.visits, began))
    assert {visit.status for visit in visits if visit.status is None or visit.status >= 500} == {503}, (
        "kept out, and nobody met an error"
    )
    records.assert_settled(ENVIRONMENT)


def test_neither_its_key_nor_a_token_is_anywhere(stack: RunningStack, shop: OnCloudRun) -> None:
    key = json.loads((shop.folder / KEY).read_text())["private_key"].splitlines()[1]
    secrets = {"the key": key, "a token": TOKEN_MARK}
    assert find_at_stack(secrets, stack) == []
    assert find_in_files(secrets, shop.folder) == [f"{KEY}: the key (plain)"], "it is searched"
