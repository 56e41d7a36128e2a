"""A restore takes the live name only when every row was compared; whatever fails, the live database is untouched."""

import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta

import psycopg
import pytest

from tests.blocks.platforms.waiting import eventually
from tests.flows.records import RUN_SECONDS, Records
from tests.flows.runner import running_procedures
from tests.flows.shop_database import ENVIRONMENT, EVERYTHING, NAME, ShopDatabase
from tests.flows.test_recover import flow_process
from tests.running_stack import RunningStack


@pytest.fixture(scope="module")
def shared_backup(shared_stack: RunningStack) -> str:
    shared_stack.mend()
    shop = ShopDatabase(shared_stack)
    shop.write_task("from before the backup")
    return shop.back_up()


@pytest.fixture
def backup(stack: RunningStack, shared_backup: str) -> str:
    """Proven, and the same for all these tests."""
    return shared_backup


def restore(shop: ShopDatabase, **parameters: object) -> dict[str, object]:
    return shop.stack.run_procedure("restore-and-verify", ENVIRONMENT, **parameters)


def test_what_was_backed_up_is_live_again_and_all_around_it_is_as_before(shop: ShopDatabase, records: Records) -> None:
    shop.ask(f"ALTER DATABASE {NAME} SET work_mem = '7MB'")
    shop.ask(f'ALTER ROLE {NAME} IN DATABASE {NAME} SET search_path = public, "$user"')
    shop.ask(f"COMMENT ON DATABASE {NAME} IS 'the shop''s'")
    shop.ask(f"ALTER DATABASE {NAME} CONNECTION LIMIT 90")
    shop.write_task("from before the backup")
    backup = shop.back_up()
    rows, before = shop.rows(), shop.read()
    plan = "EXPLAIN SELECT * FROM tasks WHERE user_id = 1 ORDER BY id"
    shop.ask("ANALYZE")
    planned = shop.ask(plan)
    shop.write_task("written since")

    result = restore(shop, backup=backup, accept_loss="public.tasks")

    assert result["ending"] == "Done", result["message"]
    kept = str(result["message"]).split("kept as ")[1].rstrip(".")
    assert {name: shop.rows()[name] for name in ("tasks", "users", "offers")} == {
        name: rows[name] for name in ("tasks", "users", "offers")
    }
    after = shop.read()
    assert after.oid != before.oid
    varying = {"oid", "size", "grants"}
    assert after.model_dump(exclude=varying) == before.model_dump(exclude=varying)
    assert {str(grant) for grant in after.grants} == {str(grant) for grant in before.grants}
    assert shop.ask(plan) == planned
    assert "written since" in str(shop.rows(kept)["tasks"])
    assert shop.read(kept).may_connect == {"shop_restore"}
    assert shop.service_answers()
    records.assert_settled(ENVIRONMENT)


def test_by_a_time_it_is_the_newest_proven_one_of_then(shop: ShopDatabase, backup: str) -> None:
    shop.write_task("in the newer one only")
    newer = shop.back_up()
    manifest = shop.stack.folder / "backups" / ENVIRONMENT / newer / "manifest.json"
    taken_at = datetime.fromisoformat(json.loads(manifest.read_text())["taken_at"])

    result = restore(shop, at=(taken_at - timedelta(microseconds=1)).isoformat(), accept_loss=EVERYTHING)

    assert result["ending"] == "Done", result["message"]
    assert str(result["message"]).startswith(f"{backup} is live in {ENVIRONMENT}")
    assert "in the newer one only" not in str(shop.rows()["tasks"])
    both = restore(shop, backup=newer, at=taken_at.isoformat())
    assert (both["ending"], "Parameter 'at'" in str(both["message"])) == ("Refused", True)


def test_a_loss_that_nobody_accepted_refuses(shop: ShopDatabase, backup: str) -> None:
    shop.write_task("written since")
    before = shop.read()

    result = restore(shop, backup=backup)

    assert (result["ending"], result["exit_code"]) == ("Refused", 1)
    assert "public.tasks" in str(result["message"])
    assert "(+1)" in str(result["message"])
    assert "accept_loss=public.tasks" in str(result["message"])
    assert shop.read() == before.model_copy(update={"size": shop.read().size})
    assert shop.others() == []


def test_a_damaged_backup_changes_nothing(shop: ShopDatabase, backup: str) -> None:
    folder = shop.stack.folder / "backups" / ENVIRONMENT / backup
    archive = next(folder.glob("files.tar*"))
    whole = archive.read_bytes()
    damaged = bytearray(whole)
    damaged[len(damaged) // 2] ^= 1
    archive.write_bytes(damaged)
    before, rows = shop.read(), shop.rows()

    try:
        result = restore(shop, backup=backup, accept_loss=EVERYTHING)
    finally:
        archive.write_bytes(whole)

    assert (result["ending"], result["exit_code"]) == ("Rolled back", 3), result["message"]
    assert "files.tar" in str(result["message"])
    after = shop.read()
    assert (after.oid, after.may_connect) == (before.oid, before.may_connect)
    assert shop.rows() == rows
    assert shop.others() == []
    assert shop.service_answers()


def test_fifty_busy_connections_do_not_keep_it_from_switching(shop: ShopDatabase, backup: str) -> None:
    url = shop.stack.layout.database_url(NAME)
    stop = threading.Event()

    def be_busy() -> None:
        while not stop.is_set():
            with suppress(psycopg.Error), psycopg.connect(url, connect_timeout=5) as connection:
                while not stop.is_set():
                    connection.execute("SELECT count(*) FROM tasks, pg_sleep(0.05)")

    with ThreadPoolExecutor(50) as threads:
        for _ in range(50):
            threads.submit(be_busy)
        try:
            result = restore(shop, backup=backup, accept_loss=EVERYTHING)
        finally:
            stop.set()
    assert result["ending"] == "Done", result["message"]


def test_killed_in_the_middle_all_is_as_before(shop: ShopDatabase, backup: str, records: Records) -> None:
    before, rows = shop.read(), shop.rows()
    earlier = records.newest_run(ENVIRONMENT)
    shop.stack.run(
        "run", "restore-and-verify", ENVIRONMENT, "-p", f"backup={backup}", "-p", f"accept_loss={EVERYTHING}"
    )
    run_id = records.wait_until_begun(ENVIRONMENT, earlier)
    eventually(lambda: "create database" in records.effects(run_id), RUN_SECONDS)
    process = flow_process(shop.stack)
    assert process
    os.kill(process, signal.SIGKILL)

    run = records.wait_for_ending(run_id)

    assert run["ending"] == "Rolled back", run["message"]
    after = shop.read()
    assert (after.oid, after.may_connect) == (before.oid, before.may_connect)
    assert shop.rows() == rows
    assert shop.others() == []
    eventually(shop.service_answers)
    records.assert_settled(ENVIRONMENT)


def test_killed_after_visitors_were_let_in_and_wrote_it_is_completed(
    shop: ShopDatabase, backup: str, records: Records
) -> None:
    before, earlier = shop.read(), records.newest_run(ENVIRONMENT)
    with shop.unreachable_for_the_service(), running_procedures(shop.stack) as own:
        own.begin("restore-and-verify", ENVIRONMENT, backup=backup, accept_loss=EVERYTHING)
        run_id = records.wait_until_begun(ENVIRONMENT, earlier)
        eventually(lambda: "leave maintenance" in records.effects(run_id), RUN_SECONDS)
        eventually(lambda: shop.read().may_connect == before.may_connect)
        os.kill(own.process.pid, signal.SIGKILL)
        shop.write_task("written to the restored one")

    run = records.wait_for_ending(run_id)

    assert run["ending"] == "Done", run["message"]
    assert "would be lost: public.tasks" in run["message"]
    assert set(records.undos(run_id)) == {"disarmed"}
    assert "written to the restored one" in str(shop.rows()["tasks"])
    (kept,) = shop.others()
    assert shop.read(kept).oid == before.oid != shop.read().oid
    assert shop.read().may_connect == before.may_connect
    eventually(shop.service_answers)
    records.assert_settled(ENVIRONMENT)


def test_undo_restore_switches_back_and_refuses_to_lose_what_was_written(shop: ShopDatabase, backup: str) -> None:
    shop.write_task("only in the database of before")
    restored = restore(shop, backup=backup, accept_loss=EVERYTHING)
    assert restored["ending"] == "Done", restored["message"]
    shop.write_task("written to the restored one")

    refused = shop.stack.run_procedure("undo-restore", ENVIRONMENT)
    assert refused["ending"] == "Rolled back", refused["message"]
    assert "public.tasks" in str(refused["message"])
    assert "written to the restored one" in str(shop.rows()["tasks"])
    assert shop.service_answers()

    undone = shop.stack.run_procedure("undo-restore", ENVIRONMENT, accept_loss=EVERYTHING)
    assert undone["ending"] == "Done", undone["message"]
    assert "only in the database of before" in str(shop.rows()["tasks"])
    assert shop.service_answers()
    again = shop.stack.run_procedure("undo-restore", ENVIRONMENT)
    assert again["ending"] == "Done", again["message"]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"backup": "20200101T000000Z-00000000"}, "Parameter 'backup'"),
        ({"backup": "../../etc/passwd"}, "Parameter 'backup'"),
        ({"at": "2001-01-01T00:00Z"}, "no proven backup at or before 2001-01-01"),
    ],
)
def test_what_is_no_backup_is_refused(shop: ShopDatabase, backup: str, parameters: dict[str, str], words: str) -> None:
    result = restore(shop, **parameters)
    assert (result["ending"], result["exit_code"]) == ("Refused", 1)
    assert words in str(result["message"])
    assert "othing was changed" in str(result["message"])


def test_a_role_that_may_not_is_told_what_it_lacks(shop: ShopDatabase, backup: str) -> None:
    shop.ask("ALTER ROLE shop_restore NOCREATEDB")
    try:
        result = restore(shop, backup=backup, accept_loss=EVERYTHING)
    finally:
        shop.ask("ALTER ROLE shop_restore CREATEDB")
    assert (result["ending"], result["exit_code"]) == ("Refused", 1)
    assert "ALTER ROLE shop_restore CREATEDB" in str(result["message"])
    assert shop.others() == []


def test_a_backup_that_was_never_proven_is_not_restored(shop: ShopDatabase) -> None:
    made = shop.stack.run_procedure("back-up-database", ENVIRONMENT)
    unproven = str(made["message"]).split()[1]
    result = restore(shop, backup=unproven, accept_loss=EVERYTHING)
    assert (result["ending"], result["exit_code"]) == ("Refused", 1)
    assert "backup proven: prove it first" in str(result["message"])
