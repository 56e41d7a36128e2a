"""PostgreSQL goes away in the middle of a migration, with the ledger and Prefect's database, and comes back."""

import os
import signal
from collections.abc import Iterator

import pytest

from deployments.stack.postgres_home import PostgresHome
from tests.blocks.platforms.waiting import eventually
from tests.drills.migrating import ADD, DROP, TIDY, VERSION, State, nothing_lost, prepare
from tests.flows.migrations import ENVIRONMENT, Migrations
from tests.flows.records import RUN_SECONDS, Records
from tests.flows.runner import running_procedures
from tests.flows.shop_database import ShopDatabase
from tests.running_stack import RunningStack

pytestmark = [pytest.mark.drill, pytest.mark.timeout(300)]  # it brings up a stack of its own

SLEEP = "SELECT pg_sleep(4);"
ASLEEP = "SELECT 1 FROM pg_stat_activity WHERE datname = 'shop_staging' AND wait_event = 'PgSleep'"
FAST, IMMEDIATE = signal.SIGINT, signal.SIGQUIT
"""What they mean to PostgreSQL: sessions are ended; or nothing is, and it recovers when it starts."""


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    stack = RunningStack(tmp_path_factory.mktemp("own") / "state")
    with stack.taken_down_afterwards():
        stack.run("up")
        yield stack


@pytest.fixture(scope="module")
def migrations(own_stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Migrations:
    return prepare(own_stack, tmp_path_factory.mktemp("migrations"))


@pytest.fixture
def shop(own_stack: RunningStack, migrations: Migrations) -> Iterator[ShopDatabase]:
    shop = ShopDatabase(own_stack)
    yield shop
    shop.ask(TIDY)


@pytest.mark.parametrize("ended_by", [FAST, IMMEDIATE], ids=["fast", "immediate"])
@pytest.mark.parametrize("stop_writes", ["no", "yes"])
def test_the_run_ends_well_and_nothing_is_lost(
    shop: ShopDatabase, migrations: Migrations, ended_by: signal.Signals, stop_writes: str
) -> None:
    records, before = Records(shop.stack), State.of(shop)
    commit = migrations.commit("slow", f"{ADD} {SLEEP}", DROP)
    earlier = records.newest_run(ENVIRONMENT)
    with nothing_lost(shop), running_procedures(shop.stack) as own:
        own.begin("migrate-with-backup", ENVIRONMENT, version=VERSION, commit=commit, stop_writes=stop_writes)
        run_id = records.wait_until_begun(ENVIRONMENT, earlier)
        eventually(lambda: shop.ask(ASLEEP), RUN_SECONDS)
        os.kill(postmaster(shop.stack), ended_by)
        eventually(lambda: not is_running(shop.stack), RUN_SECONDS)
        shop.stack.run("up")
        run = records.wait_for_ending(run_id)
        eventually(shop.service_answers)
    after = State.of(shop)
    assert run["ending"] in ("Rolled back", "Done"), run["message"]
    if run["ending"] == "Rolled back":
        assert after == before
    else:
        assert "place text" in after.schema
        assert after.may_connect == before.may_connect
    records.assert_settled(ENVIRONMENT)


def postmaster(stack: RunningStack) -> int:
    return int((PostgresHome(stack.state).data / "postmaster.pid").read_text().split()[0])


def is_running(stack: RunningStack) -> bool:
    try:
        os.kill(postmaster(stack), 0)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return True
