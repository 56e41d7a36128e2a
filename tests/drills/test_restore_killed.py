"""A restore that is killed with SIGKILL, at each of its effects: it is put back, or it had already ended well."""

import os
import signal
import time

import pytest

from tests.blocks.platforms.waiting import eventually
from tests.flows.records import RUN_SECONDS, Records
from tests.flows.runner import running_procedures
from tests.flows.shop_database import ENVIRONMENT, EVERYTHING, ShopDatabase
from tests.running_stack import RunningStack

EFFECTS = (
    *("enter maintenance", "stop writes", "create database", "restore", "carry over settings"),
    *("switch databases", "resume writes", "leave maintenance"),
)
pytestmark = pytest.mark.drill


@pytest.fixture(scope="module")
def shared_backup(shared_stack: RunningStack) -> str:
    shared_stack.run("up")
    return ShopDatabase(shared_stack).back_up()


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("event", ["effect intended", "effect done"])
def test_at_no_moment_is_the_live_name_without_a_complete_database(
    shop: ShopDatabase, shared_backup: str, records: Records, event: str, effect: str
) -> None:
    shop.write_task("acknowledged")
    before, rows = shop.read(), shop.rows()
    earlier = records.newest_run(ENVIRONMENT)
    with running_procedures(shop.stack) as own:
        own.begin("restore-and-verify", ENVIRONMENT, backup=shared_backup, accept_loss=EVERYTHING)
        run_id = records.wait_until_begun(ENVIRONMENT, earlier)
        wait_for(records, run_id, event, effect)
        os.kill(own.process.pid, signal.SIGKILL)
        live, tables = shop.read(), {name: shop.rows()[name] for name in ("users", "offers")}
    assert tables == {name: rows[name] for name in tables}, f"complete, whichever it is: {live.oid}"

    run = records.wait_for_ending(run_id)

    assert run["ending"] in ("Rolled back", "Done"), run["message"]
    after = shop.read()
    assert after.may_connect == before.may_connect
    if run["ending"] == "Rolled back":
        assert after.oid == before.oid
        assert shop.rows() == rows
        assert shop.others() == []
    else:
        (kept,) = shop.others()
        assert shop.read(kept).oid == before.oid
        assert shop.rows(kept) == rows
    eventually(shop.service_answers)
    records.assert_settled(ENVIRONMENT)


def wait_for(records: Records, run_id: str, event: str, effect: str) -> None:
    """Asked again at once: what is waited for is over in milliseconds."""
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline:
        if effect in [detail["effect"] for detail in records.events(run_id, event)]:
            return
    raise AssertionError(f"The run never came to '{event}: {effect}'.")
