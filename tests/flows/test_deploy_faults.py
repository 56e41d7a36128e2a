"""A deploy in a world that breaks: it ends as one of the three, and what it says is so."""

import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deployments.stack.state import write_private
from tests.blocks.platforms.waiting import eventually
from tests.ended import have_ended
from tests.flows.interface import Interface
from tests.flows.production import Production
from tests.flows.receiver import Receiver
from tests.flows.records import Records
from tests.flows.underway import deploy_under_way
from tests.running_stack import RunningStack


@pytest.fixture
def platform_token(environments: Path, production: Production) -> Iterator[Path]:
    """The file that holds shop-slow's token; right again after the test."""
    path = environments / "changing-token"
    token = path.read_text()
    yield path
    write_private(path, token)


def test_what_cannot_be_measured_does_not_stay(stack: RunningStack, production: Production, records: Records) -> None:
    before = production.traffic()

    result = stack.run_procedure("deploy", "shop-blind", version="v1.1.0")

    assert (result["ending"], result["exit_code"]) == ("Rolled back", 3), result["message"]
    assert result["message"].startswith("No metrics for ")
    assert "404" in result["message"]
    assert production.traffic() == before
    assert production.newest("v1.1.0").state == "stopped"
    records.assert_settled("shop-blind")


def test_a_front_door_that_dies_during_the_rollout_does_not_keep_the_traffic_from_going_back(
    stack: RunningStack, production: Production, records: Records, interface: Interface
) -> None:
    before = production.traffic()
    with deploy_under_way(stack, records, interface, "shop-keen", "v1.3.0") as deploy:
        daemon = psutil.Process(stack.pids()["shop-production"])
        daemon.send_signal(signal.SIGKILL)
        eventually(lambda: have_ended(daemon))
        stack.run("up")
        result = deploy.result()

    assert (result["ending"], result["exit_code"]) == ("Rolled back", 3), result["message"]
    assert production.traffic() == before
    assert production.newest("v1.3.0").state == "stopped"
    assert production.answering_version() == "v1.0.0"
    records.assert_settled("shop-keen")


def test_a_notice_that_fails_is_recorded_and_fails_nothing(
    stack: RunningStack, production: Production, records: Records, environments: Path
) -> None:
    with Receiver() as receiver, Receiver() as closed:
        write_private(environments / "channel", f"json://127.0.0.1:{receiver.port}/")
        write_private(environments / "closed-channel", f"json://127.0.0.1:{closed.port}/")
        closed.close()
        result = stack.run_as_ci("deploy", "shop-quick", version="v1.1.0", requested_by="Ada")

    assert result["ending"] == "Done", result["message"]
    failed = records.events(result["run"], "notice failed")
    assert {notice["channel"] for notice in failed} == {f"file:{environments}/closed-channel"}
    assert [notice["title"] for notice in receiver.received] == [
        "Deploying v1.1.0 to shop-quick",
        "v1.1.0 is live in shop-quick",
    ]
    whose = f"Asked for by Ada.\n{result['link']}"
    assert all(notice["message"].endswith(whose) for notice in receiver.received), receiver.received
    assert str(closed.port) not in str(failed), "the channel's address is a secret"


def test_traffic_that_somebody_else_changed_is_neither_overwritten_nor_put_back(
    stack: RunningStack, production: Production, records: Records, interface: Interface
) -> None:
    before = production.traffic()
    third = production.start("v1.2.0")
    with deploy_under_way(stack, records, interface, "shop-keen", "v1.1.0") as deploy:
        production.give_traffic({third.id: 100})
        result = deploy.result()

    assert (result["ending"], result["exit_code"]) == ("Needs a human", 4), result["message"]
    assert f"The traffic of shop-keen is {{'{third.id}': 100}}" in result["message"]
    assert f"it was {before}" in result["message"]
    assert production.traffic() == {third.id: 100}
    assert production.newest("v1.1.0").state == "running", "nothing is touched where nobody knows what is meant"
    records.assert_settled("shop-keen")


def test_an_undo_that_fails_asks_for_a_human(
    stack: RunningStack, production: Production, records: Records, interface: Interface, platform_token: Path
) -> None:
    with deploy_under_way(stack, records, interface, "shop-slow", "v1.1.0") as deploy:
        split = production.traffic()
        write_private(platform_token, "no longer the token")
        interface.cancel(deploy.run_id)
        result = deploy.result()

    assert (result["ending"], result["exit_code"]) == ("Needs a human", 4), result["message"]
    assert result["message"].startswith("The run was cancelled. The undo of the traffic of shop-slow failed: ")
    assert "Set the token reference to the token that the sandbox was started with." in result["message"]
    assert production.traffic() == split
    assert records.report("shop-slow", deploy.run_id)["ending"] == "Needs a human"
    records.assert_settled("shop-slow")
