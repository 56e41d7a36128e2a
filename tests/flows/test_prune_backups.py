"""Pruning on the real stack: shown first, done when told, and nothing but what it wrote itself."""

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.blocks.platforms.waiting import eventually
from tests.flows.interface import Interface
from tests.flows.records import Records
from tests.flows.shop_database import ENVIRONMENT, ShopDatabase
from tests.running_stack import RunningStack

WAITS = 150
"""Seconds: it starts runs for whatever is due, and they take their time from each other."""


@pytest.fixture
def folder(stack: RunningStack) -> Path:
    return stack.folder / "backups" / ENVIRONMENT


def backups(folder: Path) -> set[str]:
    return {manifest.parent.name for manifest in folder.glob("*/manifest.json")}


def test_only_told_so_it_deletes_and_only_its_own(stack: RunningStack, folder: Path, records: Records) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shop = ShopDatabase(stack)
    proven = shop.back_up()
    made = [str(stack.run_procedure("back-up-database", ENVIRONMENT)["message"]).split()[1] for _ in range(2)]
    stranger = folder / made[0] / "somebody's notes"
    stranger.write_text("kept")
    leftover = folder / "20260101T000000Z-0123abcd" / "files.tar.zst"
    leftover.parent.mkdir()
    leftover.write_bytes(b"half")
    os.utime(leftover, (time.time() - 200_000,) * 2)

    shown = stack.run_procedure("prune-backups", ENVIRONMENT)
    assert shown["ending"] == "Done"
    assert "would be deleted. Nothing was changed." in shown["message"]
    assert {proven, *made} <= backups(folder)
    assert records.effects(shown["run"]) == []

    done = stack.run_procedure("prune-backups", ENVIRONMENT, delete=True)
    assert done["ending"] == "Done", done["message"]
    assert "1 leftover objects are gone" in done["message"]
    assert backups(folder) == {proven, made[1]}
    assert stranger.read_text() == "kept"
    assert sorted(path.name for path in stranger.parent.iterdir()) == [stranger.name]
    assert not leftover.exists()


@pytest.mark.drill
@pytest.mark.timeout(700)
def test_what_is_due_is_started_once(stack: RunningStack, folder: Path, interface: Interface) -> None:
    for backup in backups(folder):
        (folder / backup / "manifest.json").unlink()

    def look() -> None:
        run_id = interface.create_run("backups-due", {}).json()["id"]
        eventually(lambda: interface.state(run_id) in {"Completed", "Failed", "Crashed"}, WAITS)
        assert interface.state(run_id) == "Completed"

    look()
    eventually(lambda: len(backups(folder)) == 1, WAITS)
    look()
    (backup,) = backups(folder)
    eventually(lambda: list((folder / backup / "proofs").glob("*-full.json")), WAITS)
    assert backups(folder) == {backup}
