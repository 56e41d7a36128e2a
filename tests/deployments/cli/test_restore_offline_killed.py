"""A restore without ledger and Prefect that dies in its middle is put back by what the page says to run then."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest

from tests.blocks.platforms.waiting import eventually
from tests.deployments.cli.offline import SECONDS, Offline
from tests.flows.records import Records
from tests.flows.shop_database import ENVIRONMENT, NAME, ShopDatabase


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


def test_its_machine_dies_and_up_puts_all_back(shop: ShopDatabase, offline: Offline, backup: str) -> None:
    before, rows = shop.read(), shop.rows()
    with in_its_middle(shop, offline, backup) as command:
        for process in [psutil.Process(command.pid), *offline.processes()]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
    assert shop.read().may_connect == {"shop_restore"}, "killed while nobody could write"
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


@pytest.mark.drill
def test_only_the_command_dies_and_the_restore_goes_on(shop: ShopDatabase, offline: Offline, backup: str) -> None:
    with in_its_middle(shop, offline, backup) as command:
        command.kill()

    assert "Already up" in offline.run("up", "--bare")

    records = Records(offline.stack)
    (run_id,) = records.runs_of("restore-and-verify")
    assert records.wait_for_ending(run_id)["ending"] == "Done"
    assert "written since" not in str(shop.rows()["tasks"])
    assert shop.service_answers()
    records.assert_settled(ENVIRONMENT)


@pytest.mark.drill
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
