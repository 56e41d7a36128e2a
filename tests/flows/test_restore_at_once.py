"""Two restores of one environment at a time: one of them does its work, the other one changes nothing."""

import os
import signal
from collections.abc import Iterator

import psycopg
import pytest

from tests.blocks.platforms.waiting import eventually
from tests.flows.backup_under_way import DUMPING
from tests.flows.records import RUN_SECONDS, Records
from tests.flows.runner import Runner, running_procedures
from tests.flows.shop_database import ENVIRONMENT, EVERYTHING, NAME, ShopDatabase
from tests.running_stack import RunningStack


@pytest.fixture(scope="module")
def shared_backup(shared_stack: RunningStack) -> str:
    shared_stack.mend()
    shop = ShopDatabase(shared_stack)
    shop.ask("TRUNCATE tasks")
    shop.write_task("in the backup")
    return shop.back_up()


@pytest.fixture
def backup(stack: RunningStack, shared_backup: str) -> str:
    """Proven, and the same for all these tests."""
    return shared_backup


@pytest.fixture(scope="module")
def runners(shared_stack: RunningStack, shared_backup: str) -> Iterator[list[Runner]]:
    """Two that have run something already, so that nothing but the procedure takes time."""
    with running_procedures(shared_stack) as one, running_procedures(shared_stack) as other:
        for runner in (one, other):
            runner.begin("restore-and-verify", ENVIRONMENT, backup=shared_backup, plan_only=True)
        assert [runner.result()["ending"] for runner in (one, other)] == ["Done", "Done"]
        yield [one, other]


def begin(runner: Runner, backup: str) -> None:
    runner.begin("restore-and-verify", ENVIRONMENT, backup=backup, accept_loss=f"{EVERYTHING},unknown")


def assert_restored_once(shop: ShopDatabase, done: dict[str, object]) -> None:
    tasks = str(shop.rows()["tasks"])
    assert "in the backup" in tasks
    assert "written since" not in tasks
    (kept,) = shop.others()
    assert f"kept as {kept}." in str(done["message"])
    assert "written since" in str(shop.rows(kept)["tasks"])
    assert shop.service_answers()


def test_of_two_that_start_together_one_is_refused(
    shop: ShopDatabase, backup: str, runners: list[Runner], records: Records
) -> None:
    shop.write_task("written since")

    for runner in runners:
        begin(runner, backup)
    done, refused = sorted((runner.result() for runner in runners), key=lambda result: str(result["ending"]))

    assert (done["ending"], refused["ending"]) == ("Done", "Refused"), (done["message"], refused["message"])
    assert f"{ENVIRONMENT} is held by restore-and-verify (run {done['run']})" in refused["message"]
    assert refused["message"].endswith("Nothing was changed.")
    assert records.effects(refused["run"]) == []
    assert_restored_once(shop, done)
    records.assert_settled(ENVIRONMENT)


def test_one_whose_plan_was_overtaken_is_refused(
    shop: ShopDatabase, backup: str, runners: list[Runner], records: Records
) -> None:
    """It had planned, and the other one restored before it could take the environment."""
    shop.write_task("written since")
    first, late = runners
    with psycopg.connect(shop.stack.layout.database_url(NAME), connect_timeout=5) as connection:
        connection.execute("LOCK TABLE tasks")
        begin(late, backup)
        eventually(lambda: shop.ask(DUMPING, "postgres"), RUN_SECONDS)  # a superuser in the live one is refused
        os.kill(late.process.pid, signal.SIGSTOP)
    try:
        begin(first, backup)
        done = first.result()
    finally:
        os.kill(late.process.pid, signal.SIGCONT)
    refused = late.result()

    assert done["ending"] == "Done", done["message"]
    assert (refused["ending"], refused["exit_code"]) == ("Refused", 1), refused["message"]
    assert "another database is live than when this restore was planned" in refused["message"]
    assert refused["message"].endswith("Nothing was changed.")
    assert records.effects(refused["run"]) == []
    assert_restored_once(shop, done)
    records.assert_settled(ENVIRONMENT)


def test_one_from_elsewhere_that_was_faster_is_left_live(
    shop: ShopDatabase, backup: str, runners: list[Runner], records: Records
) -> None:
    """A restore with a ledger of its own knows nothing of this one's lock."""
    begin(runners[0], backup)
    eventually(shop.others, RUN_SECONDS)
    os.kill(runners[0].process.pid, signal.SIGSTOP)
    try:
        shop.ask(f"CREATE DATABASE {NAME}_elsewhere TEMPLATE {NAME} OWNER {NAME}", "postgres")
        shop.ask(f"ALTER DATABASE {NAME} RENAME TO {NAME}_kept", "postgres")
        shop.ask(f"ALTER DATABASE {NAME}_elsewhere RENAME TO {NAME}", "postgres")
        live = shop.read()
    finally:
        os.kill(runners[0].process.pid, signal.SIGCONT)
    result = runners[0].result()

    assert result["ending"] == "Rolled back", result["message"]
    assert f"The live database is {live.oid} now." in result["message"]
    assert (shop.read().oid, shop.read().may_connect) == (live.oid, live.may_connect)
    assert shop.others() == [f"{NAME}_kept"]
    eventually(shop.service_answers)
    records.assert_settled(ENVIRONMENT)
