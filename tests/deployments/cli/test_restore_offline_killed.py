"""A restore without ledger and Prefect that dies in its middle is put back by what the page says to run then."""

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest

from tests.blocks.platforms.waiting import eventually
from tests.deployments.cli.offline import SECONDS, Offline
from tests.flows.records import Records
from tests.flows.shop_database import ENVIRONMENT, NAME, ShopDatabase

End = Callable[["subprocess.Popen[str]", Offline], None]
pytestmark = [pytest.mark.drill, pytest.mark.timeout(300)]


@contextmanager
def in_its_middle(shop: ShopDatabase, offline: Offline, backup: str) -> Iterator["subprocess.Popen[str]"]:
    """Writes are stopped, and the new database is being filled."""
    words = ("--offline", "-p", f"backup={backup}", "-p", "accept_loss=public.tasks")
    with offline.begin_restore(*words) as command:
        try:
            eventually(lambda: shop.others() or command.poll() is not None, SECONDS)
            yield command
        finally:
            command.kill()


@pytest.fixture
def backup(shop: ShopDatabase) -> str:
    made = shop.back_up()
    shop.write_task("written since")
    return made


def kill_all(command: "subprocess.Popen[str]", offline: Offline) -> None:
    for process in [psutil.Process(command.pid), *offline.processes()]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def interrupt(command: "subprocess.Popen[str]", offline: Offline) -> None:
    command.send_signal(signal.SIGINT)
    output, _ = command.communicate(timeout=SECONDS)
    assert f"put back by: BACKSTOP_STATE={offline.stack.folder} backstop up --bare" in output


@pytest.mark.parametrize("end", [kill_all, interrupt], ids=["its machine dies", "interrupted"])
def test_up_puts_all_back(shop: ShopDatabase, offline: Offline, backup: str, end: End) -> None:
    before, rows = shop.read(), shop.rows()
    with in_its_middle(shop, offline, backup) as command:
        end(command, offline)
    assert shop.read().may_connect == {"shop_restore"}, "it ended while nobody could write"
    assert len(shop.others()) == 1

    offline.run("up", "--bare")

    records = Records(offline.stack)
    (run_id,) = records.runs_of("restore-and-verify")
    run = records.wait_for_ending(run_id)
    assert run["ending"] == "Rolled back", run["message"]
    after = shop.read()
    assert (after.oid, after.may_connect) == (before.oid, before.may_connect)
    assert shop.rows() == rows
    assert shop.others() == []
    assert shop.service_answers()
    records.assert_settled(ENVIRONMENT)
    assert "The trail is whole" in offline.run("audit", "--verify")


def test_only_the_command_dies_and_the_restore_goes_on(shop: ShopDatabase, offline: Offline, backup: str) -> None:
    tasks = shop.rows()["tasks"]
    with in_its_middle(shop, offline, backup) as command:
        command.kill()

    assert "Already up" in offline.run("up", "--bare")

    records = Records(offline.stack)
    (run_id,) = records.runs_of("restore-and-verify")
    assert records.wait_for_ending(run_id)["ending"] == "Done"
    assert shop.rows()["tasks"] == tasks[:-1], "all but the one that was written since"
    assert shop.service_answers()
    records.assert_settled(ENVIRONMENT)


def test_only_its_run_dies_and_the_command_tells_how_it_was_put_back(
    shop: ShopDatabase, offline: Offline, backup: str
) -> None:
    before = shop.read()
    with in_its_middle(shop, offline, backup) as command:
        for process in psutil.Process(offline.stack.pids()["worker"]).children():
            process.kill()
        output, _ = command.communicate(timeout=SECONDS)

    assert command.returncode == 3, output
    assert "Rolled back: The run died" in output
    after = shop.read(NAME)
    assert (after.oid, after.may_connect) == (before.oid, before.may_connect)
    assert shop.others() == []
    assert shop.service_answers()
