"""The same flows, unchanged, on a real Docker engine."""

import time
from collections.abc import Iterator

import pytest

from tests.blocks.platforms.engine import require_engine
from tests.flows.docked import ENVIRONMENT, Docked, docked_shop
from tests.flows.elsewhere import BACKED_UP
from tests.flows.production import GOOD, Production
from tests.flows.records import Records
from tests.running_stack import RunningStack

BETTER, BAD, WITH_MIGRATION = "v1.1.0", "v1.3.0", "v2.0.0"

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def docked(shared_production: Production, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docked]:
    """Its database has the schema of the first release, and has it again afterwards."""
    require_engine()
    shared_production.reset()
    with docked_shop(shared_production, [GOOD, BETTER, BAD], tmp_path_factory.mktemp("docked")) as docked:
        docked.apply(docked.platform, **BACKED_UP)
        yield docked
        docked.apply(docked.platform)
    shared_production.reset()


@pytest.fixture(scope="module")
def proven_backup(shared_stack: RunningStack, docked: Docked) -> None:
    for procedure in ("back-up-database", "verify-backup"):
        made = shared_stack.run_procedure(procedure, ENVIRONMENT)
        assert made["ending"] == "Done", made["message"]


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

    keen = docked.apply_keen()
    bad = stack.run_procedure("deploy", keen, version=BAD)

    assert (bad["ending"], bad["exit_code"]) == ("Rolled back", 3), bad["message"]
    assert "1.0% are allowed" in bad["message"]
    assert "shift traffic" in records.effects(bad["run"]), "visitors met it"
    assert docked.platform.read_traffic() == {new: 100}
    assert docked.running() == {old, new}
    assert docked.unplanned_failures(began) == []
    records.assert_settled(keen)


@pytest.mark.drill
@pytest.mark.usefixtures("proven_backup")
def test_a_migration_is_applied_while_the_service_goes_on_and_is_taken_back(
    stack: RunningStack, shared_production: Production, docked: Docked, records: Records
) -> None:
    began, before = time.time(), docked.platform.read_traffic()

    done = stack.run_procedure("migrate-with-backup", ENVIRONMENT, version=WITH_MIGRATION)

    assert done["ending"] == "Done", done["message"]
    assert shared_production.has_due_dates()
    assert docked.platform.read_traffic() == before
    assert docked.unplanned_failures(began) == []

    back = stack.run_procedure("roll-back-migration", ENVIRONMENT)

    assert back["ending"] == "Done", back["message"]
    assert not shared_production.has_due_dates()
    assert docked.unplanned_failures(began) == []
    records.assert_settled(ENVIRONMENT)


@pytest.mark.drill
@pytest.mark.usefixtures("proven_backup")
def test_a_drill_recovers_it_beside_the_live_one(stack: RunningStack, docked: Docked, records: Records) -> None:
    began, before = time.time(), (docked.platform.read_traffic(), docked.running())

    drilled = stack.run_procedure("dr-drill", ENVIRONMENT, scenario="recovery-test")

    assert drilled["ending"] == "Done", drilled["message"]
    assert (docked.platform.read_traffic(), docked.running()) == before
    assert docked.unplanned_failures(began) == []
    records.assert_settled(ENVIRONMENT)
