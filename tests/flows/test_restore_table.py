"""Rows of single tables come back while the service goes on; whatever fails, the live rows are as they were."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.blocks.platforms.waiting import eventually
from tests.flows.records import RUN_SECONDS, Records
from tests.flows.shop_database import ENVIRONMENT, ShopDatabase
from tests.flows.test_recover import flow_process
from tests.running_stack import RunningStack

OWN_SCHEMAS = "SELECT nspname FROM pg_namespace WHERE nspname ~ '^(restored|before|after)_' ORDER BY 1"
WRITE = "write rows of a backup"
TITLES = ["deleted since", "edited since", "left alone"]


@pytest.fixture(scope="module")
def backup(shared_stack: RunningStack) -> str:
    """Proven, and the same for all these tests."""
    shared_stack.mend()
    shop = ShopDatabase(shared_stack)
    shop.ask("TRUNCATE tasks")
    for title in TITLES:
        shop.write_task(title)
    shop.ask('CREATE TABLE IF NOT EXISTS "Line Up" ("Select" int PRIMARY KEY, word text)')
    shop.ask('ALTER TABLE "Line Up" OWNER TO shop_staging')
    shop.ask("INSERT INTO \"Line Up\" VALUES (1, 'x') ON CONFLICT DO NOTHING")
    return shop.back_up()


@pytest.fixture
def shop(stack: RunningStack, backup: str) -> Iterator[ShopDatabase]:
    """With one task deleted, one edited and one written since the backup."""
    shop = ShopDatabase(stack)
    eventually(shop.service_answers)
    rows = shop.ask("TABLE tasks")
    shop.ask("DELETE FROM tasks WHERE title = 'deleted since'")
    shop.ask("UPDATE tasks SET title = 'edited' WHERE title = 'edited since'")
    shop.write_task("written since")
    yield shop
    drop_own_schemas(shop)
    shop.ask("TRUNCATE tasks")
    for row in rows:
        places = ", ".join(["%s"] * len(row))
        shop.ask(f"INSERT INTO tasks OVERRIDING SYSTEM VALUE VALUES ({places})", values=row)  # noqa: S608


def restore(shop: ShopDatabase, backup_id: str, **parameters: object) -> dict[str, object]:
    given = {"tables": "public.tasks", "backup": backup_id, **parameters}
    return shop.stack.run_procedure("restore-table", ENVIRONMENT, **given)


def titles(shop: ShopDatabase) -> list[str]:
    return [str(title) for (title,) in shop.ask("SELECT title FROM tasks ORDER BY 1")]


def own_schemas(shop: ShopDatabase) -> list[str]:
    return [str(name) for (name,) in shop.ask(OWN_SCHEMAS)]


def drop_own_schemas(shop: ShopDatabase) -> None:
    for name in own_schemas(shop):
        shop.ask(f"DROP SCHEMA {name} CASCADE")


def begin(shop: ShopDatabase, records: Records, backup: str, mode: str) -> str:
    """Start it without waiting; the id of its run."""
    before = records.newest_run(ENVIRONMENT)
    given = {"tables": "public.tasks", "backup": backup, "mode": mode, "accept_loss": "public.tasks"}
    words = [word for name, value in given.items() for word in ("-p", f"{name}={value}")]
    shop.stack.run("run", "restore-table", ENVIRONMENT, *words)
    return records.wait_until_begun(ENVIRONMENT, before)


def kill_flow(shop: ShopDatabase) -> None:
    process = flow_process(shop.stack)
    assert process
    os.kill(process, signal.SIGKILL)


@contextmanager
def nobody_makes_a_schema(shop: ShopDatabase) -> Iterator[None]:
    """Whoever tries to waits."""
    with shop.connect() as connection, connection.transaction():
        connection.execute("LOCK TABLE pg_namespace IN SHARE MODE")
        yield


def test_beside_touches_nothing_live_and_names_what_differs(shop: ShopDatabase, backup: str, records: Records) -> None:
    before = shop.rows()

    result = restore(shop, backup, tables='tasks,public."Line Up"')

    assert result["ending"] == "Done", result["message"]
    (schema,) = own_schemas(shop)
    assert schema in str(result["message"])
    assert "1 only in the backup, 1 only live, 1 differing" in str(result["message"])
    assert shop.rows() == before
    assert [row[2] for row in shop.ask(f"TABLE {schema}.tasks ORDER BY 3")] == TITLES
    assert shop.ask(f'TABLE {schema}."Line Up"') == [(1, "x")]
    records.assert_settled(ENVIRONMENT)


def test_merge_brings_the_deleted_back_and_leaves_the_rest(shop: ShopDatabase, backup: str, records: Records) -> None:
    before = shop.ask("TABLE tasks ORDER BY id")

    result = restore(shop, backup, mode="merge")

    assert result["ending"] == "Done", result["message"]
    assert titles(shop) == ["deleted since", "edited", "left alone", "written since"]
    shop.write_task("a number of its own")

    undone = shop.stack.run_procedure("undo-restore-table", ENVIRONMENT)
    assert undone["ending"] == "Done", undone["message"]
    shop.ask("DELETE FROM tasks WHERE title = 'a number of its own'")
    assert shop.ask("TABLE tasks ORDER BY id") == before
    assert own_schemas(shop) == []
    again = shop.stack.run_procedure("undo-restore-table", ENVIRONMENT)
    assert (again["ending"], again["exit_code"]) == ("Refused", 1)
    records.assert_settled(ENVIRONMENT)


def test_replace_needs_the_loss_accepted(shop: ShopDatabase, backup: str) -> None:
    before = shop.ask("TABLE tasks ORDER BY id")
    refused = restore(shop, backup, mode="replace")
    assert (refused["ending"], refused["exit_code"]) == ("Refused", 1)
    assert "accept_loss=public.tasks" in str(refused["message"])
    assert shop.ask("TABLE tasks ORDER BY id") == before
    assert own_schemas(shop) == []

    result = restore(shop, backup, mode="replace", accept_loss="public.tasks")
    assert result["ending"] == "Done", result["message"]
    assert titles(shop) == TITLES


def test_an_undo_refuses_to_lose_what_was_changed_since(shop: ShopDatabase, backup: str) -> None:
    before = shop.ask("TABLE tasks ORDER BY id")
    assert restore(shop, backup, mode="replace", accept_loss="public.tasks")["ending"] == "Done"
    shop.ask("UPDATE tasks SET done = true WHERE title = 'deleted since'")

    refused = shop.stack.run_procedure("undo-restore-table", ENVIRONMENT)
    assert (refused["ending"], refused["exit_code"]) == ("Refused", 1)
    assert "public.tasks: 1 rows" in str(refused["message"])
    assert titles(shop) == TITLES
    undone = shop.stack.run_procedure("undo-restore-table", ENVIRONMENT, accept_loss="tasks")
    assert undone["ending"] == "Done", undone["message"]
    assert shop.ask("TABLE tasks ORDER BY id") == before


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"tables": "public.orders"}, "public.tasks, public.uploads"),
        ({"tables": "public.tasks; DROP TABLE tasks"}, "Parameter 'tables'"),
        ({"tables": "tasks", "backup": "20200101T000000Z-00000000"}, "Parameter 'backup'"),
        ({"tables": "tasks", "at": "2001-01-01T00:00Z", "backup": "latest"}, "no proven backup at or before"),
    ],
)
def test_what_is_not_there_is_refused(shop: ShopDatabase, backup: str, parameters: dict[str, str], words: str) -> None:
    result = restore(shop, backup, **parameters)
    assert (result["ending"], result["exit_code"]) == ("Refused", 1)
    assert words in str(result["message"])
    assert "othing was changed" in str(result["message"])


def test_killed_while_it_restores_beside_nothing_stays(shop: ShopDatabase, backup: str, records: Records) -> None:
    before = shop.rows()
    with nobody_makes_a_schema(shop):
        run_id = begin(shop, records, backup, "replace")
        eventually(lambda: "restore tables beside" in records.effects(run_id), RUN_SECONDS)
        kill_flow(shop)

    run = records.wait_for_ending(run_id)

    assert run["ending"] == "Rolled back", run["message"]
    assert shop.rows() == before
    assert own_schemas(shop) == []
    records.assert_settled(ENVIRONMENT)


def test_killed_after_the_rows_were_written_they_are_put_back(
    shop: ShopDatabase, backup: str, records: Records
) -> None:
    before = shop.rows()
    with shop.unreachable_for_the_service():
        run_id = begin(shop, records, backup, "replace")
        eventually(lambda: WRITE in [done["effect"] for done in records.events(run_id, "effect done")], RUN_SECONDS)
        assert titles(shop) == TITLES
        kill_flow(shop)

    run = records.wait_for_ending(run_id)

    assert run["ending"] == "Rolled back", run["message"]
    assert shop.rows() == before
    assert own_schemas(shop) == []
    records.assert_settled(ENVIRONMENT)


def test_rows_that_somebody_changed_are_left_to_a_human(shop: ShopDatabase, backup: str, records: Records) -> None:
    with shop.unreachable_for_the_service():
        run_id = begin(shop, records, backup, "merge")
        eventually(lambda: WRITE in [done["effect"] for done in records.events(run_id, "effect done")], RUN_SECONDS)
        shop.ask("UPDATE tasks SET title = 'worked on' WHERE title = 'deleted since'")
        run = records.wait_for_ending(run_id)
    assert run["ending"] == "Needs a human", run["message"]
    assert "public.tasks: 1 rows" in run["message"]
    assert "accept_loss=public.tasks" in run["message"]
    assert "worked on" in titles(shop)
    assert [name.partition("_")[0] for name in own_schemas(shop)] == ["after", "before"]
    records.assert_settled(ENVIRONMENT)
