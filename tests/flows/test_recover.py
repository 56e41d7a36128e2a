"""A run that dies is put back by the supervisor, or by hand."""

import os
import signal

import psutil
import psycopg
import pytest

from tests.blocks.platforms.waiting import eventually
from tests.flows.production import GOOD, Production
from tests.flows.records import RUN_SECONDS, Records
from tests.running_stack import RunningStack

ENVIRONMENT = "shop-quick"


def flow_process(stack: RunningStack) -> int | None:
    """The process of the only run that the worker carries out now."""
    children = psutil.Process(stack.pids()["worker"]).children()
    return children[0].pid if len(children) == 1 else None


def start_deploy(stack: RunningStack) -> None:
    """Without waiting for it."""
    stack.run("run", "deploy", ENVIRONMENT, "-p", "version=v1.1.0")


def kill_deploy_with_traffic(stack: RunningStack, records: Records) -> str:
    """SIGKILL in the middle of the rollout, after traffic was shifted; returns the run's id."""
    before = records.newest_run(ENVIRONMENT)
    start_deploy(stack)
    run_id = records.wait_until_begun(ENVIRONMENT, before)
    eventually(lambda: "shift traffic" in records.effects(run_id), RUN_SECONDS)
    process = flow_process(stack)
    assert process is not None
    os.kill(process, signal.SIGKILL)
    return run_id


def test_the_supervisor_puts_a_dead_run_back(stack: RunningStack, production: Production, records: Records) -> None:
    before, earlier = production.traffic(), records.runs_of("recover")

    run_id = kill_deploy_with_traffic(stack, records)

    run = records.wait_for_ending(run_id)
    assert run["ending"] == "Rolled back", run["message"]
    assert "roll back deploy" in run["message"]
    assert production.traffic() == before
    assert production.answering_version() == GOOD
    (recover,) = records.runs_of("recover")[len(earlier) :]
    assert records.wait_for_ending(recover)["ending"] == "Done"
    records.assert_settled(ENVIRONMENT)


def test_one_that_died_before_it_changed_anything_gets_its_ending(
    stack: RunningStack, production: Production, records: Records
) -> None:
    before = records.newest_run(ENVIRONMENT)
    start_deploy(stack)
    run_id = records.wait_until_begun(ENVIRONMENT, before)
    process = flow_process(stack)
    assert process is not None
    os.kill(process, signal.SIGKILL)
    assert not records.effects(run_id)

    run = records.wait_for_ending(run_id)
    assert (run["ending"], run["message"].partition(".")[0]) == (
        "Refused",
        "Its process died before it changed anything",
    )
    records.assert_settled(ENVIRONMENT)


def test_nobody_changes_an_environment_before_a_dead_run_is_put_back(
    stack: RunningStack, production: Production, records: Records
) -> None:
    earlier = records.runs_of("recover")
    with stack.suspended("supervisor"):
        run_id = kill_deploy_with_traffic(stack, records)

        refused = stack.run_procedure("deploy", ENVIRONMENT, version="v1.2.0")
        assert (refused["ending"], refused["exit_code"]) == ("Refused", 1)
        assert run_id in refused["message"]
        _, status = stack.try_to_run("status")
        assert "armed" in status, status

        by_hand = [stack.begin("recover", ENVIRONMENT) for _ in range(2)]
    for command in by_hand:
        output, _ = command.communicate(timeout=RUN_SECONDS)
        assert command.returncode == 0, output
    assert records.run(run_id)["ending"] == "Rolled back"
    assert production.answering_version() == GOOD
    assert len(records.runs_of("recover")) == len(earlier) + 1, "whoever starts it, it is the same one"
    assert stack.run("recover").strip() == "Nothing is left armed."


@pytest.mark.usefixtures("production")
def test_recover_without_anything_armed_changes_nothing(stack: RunningStack, records: Records) -> None:
    result = stack.run_procedure("recover", ENVIRONMENT)
    assert result["ending"] == "Done", result["message"]
    assert result["message"] == f"Nothing is armed in {ENVIRONMENT}."
    assert records.effects(result["run"]) == []


def test_a_ledger_that_was_restored_from_a_copy_brings_no_undo_back_to_life(
    stack: RunningStack, production: Production, records: Records
) -> None:
    done = stack.run_procedure("deploy", ENVIRONMENT, version="v1.1.0")
    assert done["ending"] == "Done", done["message"]
    traffic = production.traffic()
    with psycopg.connect(stack.layout.database_url("backstop"), connect_timeout=5) as ledger:
        ledger.execute("UPDATE armed_undo SET state = 'armed' WHERE run_id = %s", [done["run"]])

    result = stack.run_procedure("recover", ENVIRONMENT)

    assert result["ending"] == "Needs a human", result["message"]
    assert "its run ended before (Done)" in result["message"]
    assert production.traffic() == traffic
    assert records.effects(result["run"]) == []
    stack.run("recover", "--settled", done["run"])
    records.assert_settled(ENVIRONMENT)
