"""More than one deploy at a time, and one that is cancelled."""

import json

from tests.blocks.platforms.waiting import eventually
from tests.flows.interface import Interface
from tests.flows.production import Production
from tests.flows.records import Records
from tests.flows.underway import deploy_under_way
from tests.running_stack import WITHIN, RunningStack

WITHOUT_WAITING = 45
"""Seconds from its start in which the second of two is refused: the first one goes on for longer."""


def test_a_second_one_is_refused_and_the_first_can_be_cancelled(
    stack: RunningStack, production: Production, records: Records, interface: Interface
) -> None:
    before = production.traffic()
    with deploy_under_way(stack, records, interface, "shop-slow", "v1.1.0") as first:
        new = production.newest("v1.1.0")
        assert production.traffic() == {next(iter(before)): 80, new.id: 20}
        with stack.begin("run", "deploy", "shop-staging", "-p", "version=v1.1.0", "--wait", "--json") as elsewhere:
            second = stack.run_procedure("deploy", "shop-slow", version="v1.2.0")
            output, _ = elsewhere.communicate(timeout=WITHIN)

        assert (second["ending"], second["exit_code"]) == ("Refused", 1)
        assert f"environment free: deploy (run {first.run_id}, Ada) holds it since " in second["message"]
        assert second["message"].endswith("Nothing was changed.")
        refused = records.run(second["run"])
        assert (refused["ended_at"] - refused["started_at"]).total_seconds() < WITHOUT_WAITING
        assert records.effects(second["run"]) == []
        assert json.loads(output.splitlines()[-1])["ending"] == "Done", "another environment is not blocked"

        interface.cancel(first.run_id)
        result = first.result()

    assert (result["ending"], result["exit_code"]) == ("Rolled back", 3)
    assert result["message"].startswith("The run was cancelled. Put back: the traffic of shop-slow")
    eventually(lambda: interface.state(first.run_id) == "Cancelled", 20)
    assert production.traffic() == before
    assert production.release(new.id).state == "stopped"
    records.assert_settled("shop-slow")


def test_of_two_that_start_together_one_is_refused(
    stack: RunningStack, production: Production, records: Records
) -> None:
    words = ("run", "deploy", "shop-quick", "-p", "version=v1.1.0", "--wait", "--json")
    with stack.begin(*words) as one, stack.begin(*words) as other:
        outputs = [one.communicate(timeout=WITHIN)[0], other.communicate(timeout=WITHIN)[0]]

    done, refused = sorted((json.loads(output.splitlines()[-1]) for output in outputs), key=lambda one: one["ending"])
    assert (done["ending"], refused["ending"]) == ("Done", "Refused"), outputs
    assert done["run"] in refused["message"]
    assert production.traffic() == {production.newest("v1.1.0").id: 100}
    assert len(production.running()) == 2, "one new release, and the previous one kept warm"
    records.assert_settled("shop-quick")
