"""An operator returns to an earlier release."""

from tests.flows.interface import Interface
from tests.flows.production import Production
from tests.flows.records import Records
from tests.flows.underway import deploy_under_way
from tests.running_stack import RunningStack


def test_it_returns_to_the_last_good_release_and_never_to_one_that_somebody_has_left(
    stack: RunningStack, production: Production, records: Records
) -> None:
    good, left = production.start("v1.0.0"), production.start("v1.1.0")
    production.give_traffic({left.id: 100})

    result = stack.run_procedure("roll-back-deploy", "shop-quick", cause="Prices were wrong.", requested_by="Ada")

    assert (result["ending"], result["exit_code"]) == ("Done", 0), result["message"]
    assert "v1.0.0 has all traffic of shop-quick and was verified. Cause: Prices were wrong." in result["message"]
    assert production.traffic() == {good.id: 100}
    assert production.release(left.id).state == "stopped"
    assert production.answering_version() == "v1.0.0"
    records.assert_settled("shop-quick")
    report = records.report("shop-quick", result["run"])
    assert (report["ending"], report["requested_by"]) == ("Done", "Ada")
    assert "Prices were wrong." in report["message"]

    newest = production.start("v1.2.0")
    production.give_traffic({newest.id: 100})
    assert stack.run_procedure("roll-back-deploy", "shop-quick")["ending"] == "Done"
    assert production.traffic() == {good.id: 100}, "v1.1.0 is newer, but it was left for a reason"


def test_it_starts_a_named_one_that_is_stopped_and_has_nothing_to_do_the_second_time(
    stack: RunningStack, production: Production, records: Records
) -> None:
    (main,) = production.traffic()
    stopped = production.start("v1.1.0")
    production.platform.stop_release(stopped.id)

    first = stack.run_procedure("roll-back-deploy", "shop-quick", to="v1.1.0")
    second = stack.run_procedure("roll-back-deploy", "shop-quick", to="v1.1.0")

    assert (first["ending"], second["ending"]) == ("Done", "Done"), (first, second)
    assert production.traffic() == {stopped.id: 100}
    assert production.running() == {stopped.id}
    assert records.effects(first["run"]) == ["start stopped release", "shift traffic", "stop release"]
    assert production.release(main).state == "stopped"
    assert records.effects(second["run"]) == []


def test_one_that_fails_its_verification_gets_no_traffic(
    stack: RunningStack, production: Production, records: Records
) -> None:
    broken = production.start("v1.6.0")
    production.platform.stop_release(broken.id)
    before = production.look()

    result = stack.run_procedure("roll-back-deploy", "shop-quick", to="v1.6.0")

    assert (result["ending"], result["exit_code"]) == ("Rolled back", 3), result["message"]
    assert "GET /tasks: answers 500" in result["message"]
    assert production.look() == before, "what it started is stopped again"
    records.assert_settled("shop-quick")


def test_it_takes_over_from_a_deploy_that_only_watches(
    stack: RunningStack, production: Production, records: Records, interface: Interface
) -> None:
    before = production.traffic()
    with deploy_under_way(stack, records, interface, "shop-slow", "v1.1.0") as deploy:
        rollback = stack.run_procedure("roll-back-deploy", "shop-slow", cause="Customers complain.")
        result = deploy.result()

    assert (result["ending"], result["exit_code"]) == ("Rolled back", 3), result["message"]
    assert result["message"].startswith(f"Run {rollback['run']} asked for the environment. Put back: ")
    assert (rollback["ending"], rollback["exit_code"]) == ("Done", 0), rollback["message"]
    assert "v1.0.0 has all traffic of shop-slow" in rollback["message"]
    assert production.traffic() == before
    assert production.newest("v1.1.0").state == "stopped"
    records.assert_settled("shop-slow")
