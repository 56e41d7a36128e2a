"""A migration that is killed with SIGKILL, at each of its effects and of its way back: all as before, or all done."""

import os
import signal
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from tests.blocks.platforms.waiting import eventually
from tests.drills.migrating import ADD, DROP, TIDY, VERSION, State, nothing_lost, prepare
from tests.flows.migrations import ENVIRONMENT, Migrations
from tests.flows.records import RUN_SECONDS, Records
from tests.flows.runner import running_procedures
from tests.flows.shop_database import NAME, ShopDatabase
from tests.running_stack import RunningStack

pytestmark = [pytest.mark.drill, pytest.mark.timeout(240)]

OUTSIDE = "-- backstop: no-transaction\n"
SHORT = "ALTER TABLE tasks ADD CONSTRAINT short CHECK (length(title) < 100);"
UPPER = "UPDATE tasks SET title = upper(title) WHERE title = 'here already';"
LONG_TITLE = "x" * 150
REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF current_database() = 'backstop_trial' OR NEW.title <> 'Backstop smoke test' THEN RETURN NEW; END IF;
  RAISE EXCEPTION 'no task is taken';
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION refuse();
"""


class Case(NamedTuple):
    name: str
    up: str
    down: str
    stop_writes: str
    effects: list[str]
    """Those to be killed at."""
    times: int = 1
    """At which of the effects of that name."""


GOOD = ("good", ADD, DROP)
IRREVERSIBLE = ("irreversible", f"{UPPER} {ADD}", "")
FAILS_AT_ONCE = ("at-once", f"{OUTSIDE}{SHORT} {ADD}", f"{DROP} ALTER TABLE tasks DROP CONSTRAINT short;")
FAILS_HALF_WAY = ("half-way", f"{OUTSIDE}{UPPER} {ADD} {SHORT}", "")
LEAVES_INDEX = (
    "index",
    f"{OUTSIDE}CREATE UNIQUE INDEX CONCURRENTLY one_title ON tasks (title);",
    "DROP INDEX one_title;",
)
BREAKS_SERVICE = ("breaks", f"{ADD} {REFUSE}", f"{DROP} DROP FUNCTION refuse CASCADE;")
CASES = [
    Case(*GOOD, "no", ["write manifest", "apply migrations"]),
    Case(*GOOD, "yes", ["stop writes", "write manifest", "apply migrations", "resume writes"]),
    Case(*IRREVERSIBLE, "yes", ["apply migrations"]),
    Case(*BREAKS_SERVICE, "no", ["revert migrations"]),
    Case(*BREAKS_SERVICE, "yes", ["revert migrations"]),
    Case(*FAILS_AT_ONCE, "no", ["mark migration as rolled back"]),
    Case(*FAILS_AT_ONCE, "yes", ["mark migration as rolled back", "resume writes"]),
    Case(*LEAVES_INDEX, "no", ["drop invalid index"]),
    Case(*FAILS_HALF_WAY, "yes", ["stop writes"], times=2),
    Case(*FAILS_HALF_WAY, "yes", ["create database", "restore", "carry over settings"]),
    Case(*FAILS_HALF_WAY, "yes", ["switch databases", "resume writes"]),
]
LETTING_IN = ("switch databases", "resume writes")
"""From here on the restored database, which is the one wanted, may have new writes: only a human takes it away."""
MOMENTS = [
    pytest.param(
        case,
        event,
        effect,
        id=f"{case.name}-writes-stopped-{case.stop_writes}-{event}-{effect}".replace(" ", "-"),
    )
    for case in CASES
    for effect in case.effects
    for event in ("effect intended", "effect done")
]


@pytest.fixture(scope="module")
def migrations(shared_stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Migrations:
    shared_stack.run("up")
    return prepare(shared_stack, tmp_path_factory.mktemp("migrations"))


@pytest.fixture
def shop(stack: RunningStack, migrations: Migrations) -> Iterator[ShopDatabase]:
    """With tasks that some of the migrations fail on."""
    shop = ShopDatabase(stack)
    for title in (LONG_TITLE, "here already", "here already"):
        shop.write_task(title)
    yield shop
    shop.drop_others()
    shop.ask(TIDY)


@pytest.mark.parametrize(("case", "event", "effect"), MOMENTS)
def test_nothing_is_lost_and_the_schema_is_whole(
    shop: ShopDatabase, migrations: Migrations, records: Records, case: Case, event: str, effect: str
) -> None:
    before, commit = State.of(shop), migrations.commit(case.name, case.up, case.down)
    with nothing_lost(shop):
        run_id = kill_at(shop, records, commit, case, event, effect)
        if not records.armed(ENVIRONMENT):
            assert_nothing_begun(records, run_id)
        else:
            run = records.wait_for_ending(run_id)
            let_in = case.name == "half-way" and effect in LETTING_IN
            assert run["ending"] == "Rolled back" or (let_in and "would be lost" in run["message"]), run["message"]
        eventually(shop.service_answers)
    assert State.of(shop) == before
    assert shop.ask("SELECT count(*) FROM tasks WHERE title = 'here already'") == [(2,)]
    assert [name for name in shop.names() if name.startswith(f"{NAME}_new")] == []
    records.assert_settled(ENVIRONMENT)


def kill_at(shop: ShopDatabase, records: Records, commit: str, case: Case, event: str, effect: str) -> str:
    """The run's id."""
    earlier = records.newest_run(ENVIRONMENT)
    with running_procedures(shop.stack) as own:
        own.begin("migrate-with-backup", ENVIRONMENT, version=VERSION, commit=commit, stop_writes=case.stop_writes)
        run_id = records.wait_until_begun(ENVIRONMENT, earlier)
        wait_for(records, run_id, event, effect, case.times)
        os.kill(own.process.pid, signal.SIGKILL)
    return run_id


def wait_for(records: Records, run_id: str, event: str, effect: str, times: int) -> None:
    """Asked again at once: what is waited for is over in milliseconds."""
    deadline = time.monotonic() + RUN_SECONDS
    while [detail["effect"] for detail in records.events(run_id, event)].count(effect) < times:
        assert time.monotonic() < deadline, f"The run never came to '{event}: {effect}'."


def assert_nothing_begun(records: Records, run_id: str) -> None:
    """It had nothing to put back: at most a backup was made."""
    assert set(records.effects(run_id)) <= {"write manifest"}
