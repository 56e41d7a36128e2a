"""A migration is rehearsed, has a backup behind it, and is taken back by the way that loses nothing."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.blocks.platforms.waiting import eventually
from tests.flows.asking import agree, begin
from tests.flows.interface import Interface
from tests.flows.migrations import ENVIRONMENT, Migrations, clone_for, write_environment
from tests.flows.people import People
from tests.flows.records import RUN_SECONDS, Records
from tests.flows.runner import Runner, running_procedures
from tests.flows.shop_database import NAME, ShopDatabase
from tests.flows.writers import Writers
from tests.running_stack import RunningStack
from tests.standins.pagerduty import ROUTING_KEY, PagerDutyStandIn
from tests.standins.standing_in import served
from tests.standins.statuspage import KEY, PAGE, StatuspageStandIn

VERSION = "v9.0.0"
ADD = "ALTER TABLE tasks ADD COLUMN place text;"
DROP = "ALTER TABLE tasks DROP COLUMN place;"
SHORT = "ALTER TABLE tasks ADD CONSTRAINT short CHECK (length(title) < 100);"
SLEEPS = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
LONG_TITLE = "x" * 150
NO_WAY_BACK = "UPDATE tasks SET title = upper(title);"
ONLY_LIVE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF current_database() = 'backstop_trial' THEN RETURN NEW; END IF;
  RAISE EXCEPTION 'no task is taken';
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION refuse();
"""
"""The release works in its trial, and on the live database it does not."""
HELD = 4711
WHILE_HELD = f"""
DO $$ BEGIN
  WHILE current_database() = '{NAME}' AND EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = {HELD})
  LOOP PERFORM pg_sleep(0.05); END LOOP;
END $$;
"""


@pytest.fixture(scope="module")
def pagerduty() -> Iterator[PagerDutyStandIn]:
    with served(standing_in := PagerDutyStandIn()):
        yield standing_in


@pytest.fixture(scope="module")
def statuspage() -> Iterator[StatuspageStandIn]:
    with served(standing_in := StatuspageStandIn()):
        yield standing_in


@pytest.fixture(scope="module")
def shared_migrations(
    shared_stack: RunningStack,
    pagerduty: PagerDutyStandIn,
    statuspage: StatuspageStandIn,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Migrations, Runner]]:
    """The environment is applied, and there is a proven backup of it, without what other tests left."""
    shared_stack.mend()
    ShopDatabase(shared_stack).ask("DELETE FROM tasks")
    folder = tmp_path_factory.mktemp("migrations")
    migrations = clone_for(shared_stack, folder)
    (folder / "pager-key").write_text(ROUTING_KEY)
    (folder / "page-key").write_text(KEY)
    page = {"page": PAGE, "key": f"file:{folder}/page-key", "url": statuspage.url, "after_seconds": 0}
    outside = {"pager": {"routing_key": f"file:{folder}/pager-key", "url": pagerduty.url}, "status_page": page}
    shared_stack.run("apply", str(write_environment(folder, migrations, notices=outside)))
    with running_procedures(shared_stack) as runner:
        made = runner.run("back-up-database", ENVIRONMENT)
        assert made["ending"] == "Done", made
        assert runner.run("verify-backup", ENVIRONMENT)["ending"] == "Done"
        yield migrations, runner


@pytest.fixture
def migrations(shared_migrations: tuple[Migrations, Runner]) -> Migrations:
    return shared_migrations[0]


@pytest.fixture
def runner(shared_migrations: tuple[Migrations, Runner]) -> Runner:
    return shared_migrations[1]


@pytest.fixture
def shop(stack: RunningStack, migrations: Migrations) -> Iterator[ShopDatabase]:
    """As it was when the backup was made; whatever a test leaves in its schema is taken away."""
    shop = ShopDatabase(stack)
    yield shop
    shop.drop_others()
    shop.ask(
        "ALTER TABLE tasks DROP COLUMN IF EXISTS place, DROP CONSTRAINT IF EXISTS short;"
        " DROP FUNCTION IF EXISTS refuse CASCADE; DROP TABLE IF EXISTS backstop_migrations; DELETE FROM tasks"
    )


def migrate(runner: Runner, commit: str, **parameters: object) -> dict[str, Any]:
    return runner.run("migrate-with-backup", ENVIRONMENT, version=VERSION, commit=commit, **parameters)


def columns(shop: ShopDatabase) -> set[str]:
    statement = "SELECT column_name FROM information_schema.columns WHERE table_name = 'tasks'"
    return {str(name) for (name,) in shop.ask(statement)}


def running_release(shop: ShopDatabase) -> str:
    """Which one staging has depends on the tests before."""
    url = shop.stack.layout.front_url("staging")
    return str(httpx.get(f"{url}/version", timeout=5, trust_env=False).json()["version"])


def test_a_good_one_is_applied_while_the_service_goes_on(
    shop: ShopDatabase, migrations: Migrations, runner: Runner, records: Records
) -> None:
    commit = migrations.commit("place", ADD, DROP)
    with Writers(shop.stack.layout.database_url(NAME), 2) as writers:
        eventually(lambda: writers.databases)
        result = migrate(runner, commit)
        assert result["ending"] == "Done", result["message"]
        assert writers.errors == 0
    assert "place" in columns(shop)
    facts = records.report(ENVIRONMENT, result["run"])["rehearsal"]
    assert (facts["trial"]["version"], facts["trial"]["outcome"]) == (running_release(shop), "works"), facts["trial"]
    assert facts["way_back"] == {"difference": "", "losses": [], "problem": ""}
    assert [(table["mode"], table["stops"]) for table in facts["tables"] if table["table"] == "public.tasks"] == [
        ("AccessExclusiveLock", "everything")
    ]
    records.assert_settled(ENVIRONMENT)

    again = migrate(runner, commit)
    assert again["ending"] == "Done"
    assert "Nothing is pending" in again["message"]

    shop.ask("UPDATE tasks SET place = 'here' WHERE id = (SELECT min(id) FROM tasks)")
    kept = runner.run("roll-back-migration", ENVIRONMENT)
    assert kept["ending"] in ("Refused", "Needs a human"), kept["message"]
    assert "public.tasks.place: 1 rows" in kept["message"]
    assert "place" in columns(shop)

    shop.ask("UPDATE tasks SET place = NULL")
    back = runner.run("roll-back-migration", ENVIRONMENT)
    assert back["ending"] == "Done", back["message"]
    assert "down-migrations" in back["message"]
    assert "place" not in columns(shop)


def test_a_plan_changes_nothing(shop: ShopDatabase, migrations: Migrations, runner: Runner) -> None:
    before = shop.rows()
    result = migrate(runner, migrations.commit("place", ADD, DROP), plan_only=True)
    assert result["ending"] == "Done", result["message"]
    assert "place" not in columns(shop)
    assert shop.rows() == before


def test_what_fails_in_the_rehearsal_is_refused(shop: ShopDatabase, migrations: Migrations, runner: Runner) -> None:
    result = migrate(runner, migrations.commit("wrong", f"{ADD} ALTER TABLE nowhere ADD COLUMN x int;"))
    assert result["ending"] == "Refused", result["message"]
    assert "rehearsal succeeds" in result["message"]
    assert "nowhere" in result["message"]
    assert "place" not in columns(shop)


@pytest.mark.parametrize(
    "up", [f"{SHORT} {ADD}", f"{ADD} {SHORT} SELECT 1;", f"{ADD} {SHORT}"], ids=["first", "middle", "last"]
)
def test_what_fails_only_on_live_data_leaves_nothing(
    shop: ShopDatabase, migrations: Migrations, runner: Runner, records: Records, up: str
) -> None:
    shop.write_task(LONG_TITLE)
    result = migrate(runner, migrations.commit("short", up, f"{DROP} ALTER TABLE tasks DROP CONSTRAINT short;"))
    assert result["ending"] == "Rolled back", result["message"]
    assert "short" in result["message"]
    assert "place" not in columns(shop)
    assert LONG_TITLE in str(shop.rows()["tasks"])
    records.assert_settled(ENVIRONMENT)


def test_a_table_that_somebody_holds_for_long_is_waited_for_with_nobody_queueing_behind(
    shop: ShopDatabase, migrations: Migrations, runner: Runner, records: Records
) -> None:
    commit, oid = migrations.commit("place", ADD, DROP), shop.read().oid
    with Writers(shop.stack.layout.database_url(NAME), 2) as writers, shop.connect() as connection:
        with connection.transaction():
            connection.execute("SELECT count(*) FROM tasks")  # a long report
            runner.begin("migrate-with-backup", ENVIRONMENT, version=VERSION, commit=commit)
            eventually(lambda: waits_for_tables(shop), RUN_SECONDS)
            before = len(writers.acknowledged(oid))
            eventually(lambda: len(writers.acknowledged(oid)) > before + 4)
            result = runner.result()
        assert writers.errors == 0
    assert result["ending"] == "Rolled back", result["message"]
    assert "public.tasks is held by" in result["message"]
    assert records.events(result["run"], "migration failed") == []
    assert "place" not in columns(shop)


def waits_for_tables(shop: ShopDatabase) -> bool:
    """A run does: it looks at the locks again and again."""
    return (
        shop.ask("SELECT 1 FROM pg_stat_activity WHERE query LIKE '%virtualtransaction%' AND pid <> pg_backend_pid()")
        != []
    )


def test_a_lock_that_is_not_to_be_had_is_tried_for_a_bounded_time(
    shop: ShopDatabase, migrations: Migrations, runner: Runner, records: Records
) -> None:
    """Somebody takes the second table when the migration has begun."""
    up = f"{ADD} SELECT pg_sleep(1.5); ALTER TABLE offers ADD COLUMN place text;"
    commit = migrations.commit("two", up, f"{DROP} ALTER TABLE offers DROP COLUMN place;")
    with shop.connect() as connection:
        runner.begin("migrate-with-backup", ENVIRONMENT, version=VERSION, commit=commit, stop_writes="no")
        eventually(lambda: shop.ask(SLEEPS) != [], RUN_SECONDS)
        with connection.transaction():
            connection.execute("SELECT count(*) FROM offers")
            result = runner.result()
    assert result["ending"] == "Rolled back", result["message"]
    assert [event["lock"] for event in records.events(result["run"], "migration failed")] == [True]
    assert "public.offers is held by" in result["message"]
    assert "place" not in columns(shop)


def test_what_the_running_release_cannot_live_with_is_refused(
    shop: ShopDatabase, migrations: Migrations, runner: Runner
) -> None:
    rename, back = "ALTER TABLE tasks RENAME title TO name;", "ALTER TABLE tasks RENAME name TO title;"
    result = migrate(runner, migrations.commit("renamed", rename, back))
    assert result["ending"] == "Refused", result["message"]
    assert f"running release works on the new schema: {running_release(shop)} does not" in result["message"]
    assert "(expand)" in result["message"]
    assert "title" in columns(shop)


def test_one_that_breaks_the_service_is_taken_back(
    shop: ShopDatabase, migrations: Migrations, runner: Runner, records: Records
) -> None:
    result = migrate(
        runner, migrations.commit("refused", f"{ADD} {ONLY_LIVE}", f"{DROP} DROP FUNCTION refuse CASCADE;")
    )
    assert result["ending"] == "Rolled back", result["message"]
    assert "create a task" in result["message"]
    assert "place" not in columns(shop)
    eventually(shop.service_answers)
    records.assert_settled(ENVIRONMENT)


def test_a_way_back_that_fails_asks_for_a_human_and_keeps_what_there_is(
    shop: ShopDatabase, migrations: Migrations, runner: Runner, pagerduty: PagerDutyStandIn
) -> None:
    shop.write_task("in the way")
    fails = "SELECT 1 / (1 - count(*)) FROM tasks WHERE title = 'in the way';"
    down = f"{fails} {DROP} DROP FUNCTION refuse CASCADE;"
    result = migrate(runner, migrations.commit("one-way", f"{ADD} {ONLY_LIVE}", down))
    assert result["ending"] == "Needs a human", result["message"]
    assert "division by zero" in result["message"]
    assert "place" in columns(shop)
    assert "in the way" in str(shop.rows()["tasks"])

    key = f"backstop/{ENVIRONMENT}/{result['run']}"
    eventually(lambda: key in pagerduty.open, RUN_SECONDS)
    assert "division by zero" in pagerduty.open[key]["summary"]
    shop.stack.run("recover", "--settled", result["run"])
    eventually(lambda: key not in pagerduty.open, RUN_SECONDS)
    assert pagerduty.woken[key] == 1


def test_one_without_an_exact_way_back_keeps_every_write_and_asks_for_a_human(
    shop: ShopDatabase, migrations: Migrations, runner: Runner
) -> None:
    with Writers(shop.stack.layout.database_url(NAME), 2) as writers:
        eventually(lambda: writers.databases)
        result = migrate(runner, migrations.commit("irreversible", f"{NO_WAY_BACK} {ONLY_LIVE}"))
        oid = shop.read().oid
    assert result["ending"] == "Needs a human", result["message"]
    assert "writes went on" in result["message"]
    kept = {str(title).lower() for (title,) in shop.ask("SELECT title FROM tasks")}
    assert {title.lower() for title in writers.acknowledged(oid)} <= kept


def test_with_writes_stopped_it_is_done_and_visitors_are_told_meanwhile(
    shop: ShopDatabase, migrations: Migrations, runner: Runner, records: Records, statuspage: StatuspageStandIn
) -> None:
    may_connect = shop.read().may_connect
    commit = migrations.commit("place", f"{WHILE_HELD} {ADD}", DROP)
    with psycopg.connect(shop.stack.layout.database_url("backstop"), connect_timeout=5) as elsewhere:
        elsewhere.execute("SELECT pg_advisory_lock(%s)", [HELD])
        runner.begin("migrate-with-backup", ENVIRONMENT, version=VERSION, commit=commit, stop_writes="yes")
        eventually(statuspage.under_way, RUN_SECONDS)
    result = runner.result()
    assert result["ending"] == "Done", result["message"]
    assert "place" in columns(shop)
    assert shop.read().may_connect == may_connect
    effects = records.effects(result["run"])
    told = ["enter maintenance", "stop writes", "apply migrations", "resume writes", "leave maintenance"]
    assert [effect for effect in effects if effect in told] == told
    eventually(shop.service_answers)
    eventually(lambda: not statuspage.under_way(), RUN_SECONDS)
    assert statuspage.incidents[0]["metadata"] == {"backstop": {"maintenance": result["run"]}}
    records.assert_settled(ENVIRONMENT)


def test_with_writes_stopped_the_backup_is_restored_where_there_is_no_way_back(
    shop: ShopDatabase, migrations: Migrations, runner: Runner, records: Records
) -> None:
    shop.write_task(LONG_TITLE)
    rows, may_connect = shop.rows(), shop.read().may_connect
    up = f"-- backstop: no-transaction\n{NO_WAY_BACK} {ADD} {SHORT}"
    result = migrate(runner, migrations.commit("half", up), stop_writes="yes")
    assert result["ending"] == "Rolled back", result["message"]
    assert shop.rows() == rows
    assert "place" not in columns(shop)
    assert shop.read().may_connect == may_connect
    eventually(shop.service_answers)
    records.assert_settled(ENVIRONMENT)


def test_an_index_that_a_concurrent_build_left_invalid_is_dropped(
    shop: ShopDatabase, migrations: Migrations, runner: Runner
) -> None:
    shop.write_task("twice")
    shop.write_task("twice")
    up = "-- backstop: no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY one_title ON tasks (title);"
    result = migrate(runner, migrations.commit("unique", up, "DROP INDEX one_title;"))
    assert result["ending"] == "Rolled back", result["message"]
    assert shop.ask("SELECT 1 FROM pg_class WHERE relname = 'one_title'") == []


def test_what_somebody_migrates_during_the_rehearsal_is_refused(
    shop: ShopDatabase, migrations: Migrations, runner: Runner, records: Records, interface: Interface
) -> None:
    earlier, commit = records.newest_run(ENVIRONMENT), migrations.commit("place", f"{ADD} SELECT pg_sleep(2);", DROP)
    runner.begin("migrate-with-backup", ENVIRONMENT, version=VERSION, commit=commit)
    wait_until_rehearsing(earlier, records, interface)
    shop.ask("ALTER TABLE tasks ADD COLUMN place text")
    result = runner.result()
    assert result["ending"] == "Refused", result["message"]
    assert "somebody has migrated it" in result["message"]


@pytest.fixture
def people_are_asked(stack: RunningStack, migrations: Migrations, tmp_path: Path) -> Iterator[None]:
    asked = {"procedures": {"migrate-with-backup": {"needed": 1}}}
    stack.run("apply", str(write_environment(tmp_path, migrations, approvals=asked)))
    yield
    stack.run("apply", str(write_environment(tmp_path, migrations)))


@pytest.mark.drill
@pytest.mark.usefixtures("people_are_asked")
def test_when_what_is_pending_changes_while_people_are_asked_they_are_asked_again(
    shop: ShopDatabase, migrations: Migrations, records: Records, api: httpx.Client, people: People
) -> None:
    version, first, second = "v9.1.0", people.enrol(), people.enrol()
    migrations.tag(version, migrations.commit("other", "CREATE TABLE other (id int PRIMARY KEY);"))
    run = begin(shop.stack, api, ENVIRONMENT, "migrate-with-backup", version=version)
    form = run.wait_for_form()
    migrations.tag(version, migrations.commit("place", ADD, DROP))
    agree(shop.stack, run, first)
    run.wait_for_form(after=form)
    (changed,) = records.events(run.id, "plan changed")
    assert any("001_other" in told and "001_place" in told for told in changed["differences"]), changed
    assert (records.effects(run.id), "place" in columns(shop)) == ([], False)

    agree(shop.stack, run, second)
    ending, message = run.ending()
    assert ending == "Done", message
    assert "place" in columns(shop)
    assert [one["approver"] for one in records.report(ENVIRONMENT, run.id)["approval"]] == [second.name]
    records.assert_settled(ENVIRONMENT)


def test_with_the_store_away_nothing_is_changed(
    shop: ShopDatabase, migrations: Migrations, runner: Runner, records: Records, interface: Interface
) -> None:
    """It goes away when the rehearsal has what it needs."""
    store, aside = shop.stack.state.folder / "backups", shop.stack.state.folder / "backups-away"
    earlier, may_connect = records.newest_run(ENVIRONMENT), shop.read().may_connect
    commit = migrations.commit("place", f"{ADD} SELECT pg_sleep(2);", DROP)
    runner.begin("migrate-with-backup", ENVIRONMENT, version=VERSION, commit=commit, stop_writes="yes")
    wait_until_rehearsing(earlier, records, interface)
    store.rename(aside)
    store.write_text("no folder")
    try:
        result = runner.result()
    finally:
        store.unlink()
        aside.rename(store)
    assert result["ending"] == "Refused", result["message"]
    assert records.effects(result["run"]) == []
    assert shop.read().may_connect == may_connect
    records.assert_settled(ENVIRONMENT)


def wait_until_rehearsing(earlier: str, records: Records, interface: Interface) -> None:
    """Until a newer run than `earlier` has the backup restored, and applies the migration there."""
    run_id = records.wait_until_begun(ENVIRONMENT, earlier)
    eventually(lambda: any("for the rehearsal: done" in told for told in interface.progress(run_id)), RUN_SECONDS)


def test_killed_while_it_is_applied_all_is_as_before(
    shop: ShopDatabase, migrations: Migrations, records: Records
) -> None:
    commit = migrations.commit("slow", f"{ADD} SELECT pg_sleep(6);", DROP)
    with running_procedures(shop.stack) as own:
        earlier = records.newest_run(ENVIRONMENT)
        own.begin("migrate-with-backup", ENVIRONMENT, version=VERSION, commit=commit, stop_writes="no")
        run_id = records.wait_until_begun(ENVIRONMENT, earlier)
        eventually(lambda: "apply migrations" in records.effects(run_id), 90)
        os.kill(own.process.pid, signal.SIGKILL)
    run = records.wait_for_ending(run_id)
    assert run["ending"] == "Rolled back", run["message"]
    assert "place" not in columns(shop)
    records.assert_settled(ENVIRONMENT)
