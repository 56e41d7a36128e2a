"""With ledger and Prefect gone, the backup store and an environment file are enough to restore."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.apply import ROOT
from deployments.stack.record import read_record
from deployments.stack.state import State
from tests.flows.shop_database import ShopDatabase
from tests.running_stack import RunningStack

STAGING = ROOT / "deployments" / "environments" / "shop-staging.yaml"
SECONDS = 110


@pytest.fixture
def shop(stack: RunningStack) -> Iterator[ShopDatabase]:
    shop = ShopDatabase(stack)
    yield shop
    shop.drop_others()


def restore(stack: RunningStack, journal: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """With what the file refers to, and nothing that leads to the stack's own ledger or Prefect."""
    referred = {name: value for name, value in stack.surroundings.items() if name.startswith("SHOP_")}
    return subprocess.run(
        [sys.executable, "-m", "deployments.cli", "restore", str(STAGING), "--journal", str(journal), *words],
        env={**os.environ, **referred, "BACKSTOP_STATE": str(journal.with_name("no-stack"))},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_a_restore_runs_to_its_end_and_leaves_its_journal(shop: ShopDatabase, tmp_path: Path) -> None:
    shop.write_task("in the backup")
    backup = shop.back_up()
    shop.write_task("written since")
    journal = tmp_path / "journal"

    done = restore(*(shop.stack, journal, "--offline"), "-p", f"backup={backup}", "-p", "accept_loss=public.tasks")

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Done: {backup} is live in shop-staging" in done.stdout
    tasks = str(shop.rows()["tasks"])
    assert "in the backup" in tasks
    assert "written since" not in tasks
    assert list((journal / "evidence" / "reports" / "shop-staging").glob("*.json"))
    assert read_record(State(journal)).components == {}
    assert shop.service_answers()


def test_without_the_flag_it_names_the_usual_way(stack: RunningStack, tmp_path: Path) -> None:
    refused = restore(stack, tmp_path / "journal")
    assert refused.returncode == 1
    assert "backstop run restore-and-verify ENVIRONMENT --wait" in refused.stderr
    assert not (tmp_path / "journal").exists()
