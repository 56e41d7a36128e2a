"""A backup is there, whole, or not at all; and the database is only read."""

import hashlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.blocks.platforms.waiting import eventually
from tests.flows.backup_under_way import WAITING, backup_under_way
from tests.flows.interface import Interface
from tests.flows.records import Records
from tests.flows.shop_database import ENVIRONMENT, TABLES, ShopDatabase
from tests.flows.test_recover import flow_process
from tests.running_stack import RunningStack


@pytest.fixture
def shop(stack: RunningStack) -> ShopDatabase:
    return ShopDatabase(stack)


@pytest.fixture
def store(stack: RunningStack) -> Iterator[Path]:
    """The folder that staging's backups are kept in; there again afterwards."""
    folder = stack.state.folder / "backups"
    yield folder
    away = folder.with_name("backups-away")
    if away.exists():
        away.rename(folder)


def manifests(store: Path) -> dict[str, Path]:
    return {path.parent.name: path for path in (store / ENVIRONMENT).glob("*/manifest.json")}


def test_it_works_and_everybody_can_see_what_was_done(
    shop: ShopDatabase, store: Path, records: Records, interface: Interface
) -> None:
    shop.write_task("to be kept")
    rows, known = shop.rows(), manifests(store)

    result = shop.stack.run_procedure("back-up-database", ENVIRONMENT, label="why <it> was made")

    assert (result["ending"], result["exit_code"]) == ("Done", 0), result["message"]
    ((backup_id, path),) = manifests(store).items() - known.items()
    assert result["message"].startswith(f"Backup {backup_id} of {ENVIRONMENT}: ")
    manifest = json.loads(path.read_text())
    assert {table["name"]: table["rows"] for table in manifest["tables"]}.items() >= {
        name: len(rows[name]) for name in TABLES
    }.items()
    assert (manifest["label"], manifest["run_id"]) == ("why <it> was made", result["run"])
    assert {entry.name for entry in path.parent.iterdir()} == {
        "manifest.json",
        "files.tar.zst.age",
        "globals.sql.zst.age",
    }
    assert all(entry.stat().st_mode & 0o077 == 0 for entry in path.parent.iterdir())

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (records.evidence / f"backups/{ENVIRONMENT}-{backup_id}.sha256").read_text() == digest
    assert records.events(result["run"], "backup complete") == [{"backup": backup_id, "manifest_sha256": digest}]
    assert records.report(ENVIRONMENT, result["run"])["backup"]["id"] == backup_id
    artifacts = interface.artifacts(result["run"])
    assert "why &lt;it&gt; was made" in artifacts["plan"] or "why <it>" not in artifacts["plan"]
    assert shop.rows() == rows
    records.assert_settled(f"{ENVIRONMENT}/backups")


def test_a_plan_changes_nothing(shop: ShopDatabase, store: Path, records: Records, interface: Interface) -> None:
    before = sorted(store.rglob("*"))
    result = shop.stack.run_procedure("back-up-database", ENVIRONMENT, plan_only=True)
    assert (result["ending"], result["message"]) == ("Done", "The plan was made. Nothing was changed.")
    assert "encrypted with age" in interface.artifacts(result["run"])["plan"]
    assert sorted(store.rglob("*")) == before
    assert records.effects(result["run"]) == []


def test_a_second_one_is_refused_and_told_who_is_at_it(shop: ShopDatabase, store: Path, records: Records) -> None:
    with backup_under_way(shop, records) as run_id:
        result = shop.stack.run_procedure("back-up-database", ENVIRONMENT)
        assert (result["ending"], result["exit_code"]) == ("Refused", 1)
        held = f"{ENVIRONMENT}/backups is held by back-up-database (run {run_id}), started by Ada"
        assert result["message"].startswith(held)
    assert records.wait_for_ending(run_id)["ending"] == "Done"


def test_a_database_that_goes_away_leaves_no_backup(shop: ShopDatabase, store: Path, records: Records) -> None:
    known = manifests(store)
    with backup_under_way(shop, records) as run_id:
        shop.ask(WAITING.replace("SELECT pid", "SELECT pg_terminate_backend(pid)", 1))
        ended = records.wait_for_ending(run_id)
    assert ended["ending"] == "Refused", ended["message"]
    assert "pg_dump failed" in ended["message"]
    assert manifests(store) == known


def test_one_that_is_killed_leaves_no_backup_and_the_next_one_works(
    shop: ShopDatabase, store: Path, records: Records
) -> None:
    known = manifests(store)
    with backup_under_way(shop, records) as run_id:
        process = flow_process(shop.stack)
        assert process
        os.kill(process, signal.SIGKILL)
        eventually(lambda: flow_process(shop.stack) is None)
    eventually(lambda: shop.ask(WAITING) == [])  # pg_dump's sessions have ended with it
    assert manifests(store) == known
    result = shop.stack.run_procedure("back-up-database", ENVIRONMENT)
    assert result["ending"] == "Done", result["message"]
    assert len(manifests(store)) == len(known) + 1
    assert records.run(run_id)["ending"] != "Done"


def test_a_store_that_is_not_there_is_refused(shop: ShopDatabase, store: Path, records: Records) -> None:
    store.rename(store.with_name("backups-away"))
    result = shop.stack.run_procedure("back-up-database", ENVIRONMENT)
    assert (result["ending"], result["exit_code"]) == ("Refused", 1)
    assert "is not there" in result["message"]
    assert "Nothing was changed." in result["message"]
    assert not store.exists()


def test_the_label_has_a_bound(shop: ShopDatabase, interface: Interface, records: Records) -> None:
    long: dict[str, object] = {"environment": ENVIRONMENT, "label": "x" * 101}
    assert "too long" in interface.create_run("back-up-database", long).text
    run_id = interface.create_run("back-up-database", long, enforced=False).json()["id"]
    ended = records.wait_for_ending(run_id)
    assert ended["ending"] == "Refused"
    assert "Parameter 'label' was" in ended["message"]
    result = shop.stack.run_procedure("back-up-database", ENVIRONMENT, label="x" * 100, plan_only=True)
    assert result["ending"] == "Done", result["message"]
