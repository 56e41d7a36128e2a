"""How far a transfer is, while it goes on: bytes, rate and remaining time on the run's page and in the terminal."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from deployments.apply import ROOT
from deployments.stack.state import write_private
from tests.drills.fault_proxy import FaultProxy
from tests.flows.bucket import drop_ballast, take_ballast
from tests.flows.interface import Interface
from tests.flows.records import RUN_SECONDS
from tests.flows.shop_database import EVERYTHING, ShopDatabase
from tests.running_stack import RunningStack

ENVIRONMENT = "shop-far"
STAGING = ROOT / "deployments" / "environments" / "shop-staging.yaml"
PACE = 2 << 20
TOLD = re.compile(r"(\d+\.\d) MB of about (\d+\.\d) MB, \d+\.\d [kM]B/s, about \d+ s left")


@pytest.fixture
def line(stack: RunningStack, tmp_path: Path) -> Iterator[FaultProxy]:
    """The slow line between the worker and staging's database, which holds more than a moment's bytes."""
    shop, port = ShopDatabase(stack), stack.layout.ports["postgres"]
    with FaultProxy(port) as line:
        for name in ("backup_url", "restore_url"):
            url = stack.surroundings[f"SHOP_STAGING_{name.removesuffix('_url').upper()}_DATABASE_URL"]
            write_private(tmp_path / name, url.replace(f":{port}/", f":{line.port}/"))
        stack.run("apply", str(write_environment(tmp_path)))
        take_ballast(shop)
        line.slow_down(PACE)
        try:
            yield line
        finally:
            line.mend()
            drop_ballast(shop)


def write_environment(folder: Path) -> Path:
    staging = yaml.safe_load(STAGING.read_text())
    urls = {name: f"file:{folder}/{name}" for name in ("backup_url", "restore_url")}
    parts = {"environment": ENVIRONMENT, "database": {**staging["database"], **urls}}
    path = folder / f"{ENVIRONMENT}.yaml"
    path.write_text(yaml.safe_dump({**staging, **parts}))
    return path


@pytest.mark.drill
def test_of_a_backup(shop: ShopDatabase, line: FaultProxy, interface: Interface) -> None:
    with shop.stack.begin("run", "back-up-database", ENVIRONMENT, "--wait") as process:
        see_it_move(process, interface, f"Backing up {ENVIRONMENT}")
        line.mend()
        rest, _ = process.communicate(timeout=RUN_SECONDS)
    assert "Done: Backup" in rest


@pytest.mark.drill
def test_of_a_proof_and_of_a_restore(shop: ShopDatabase, line: FaultProxy, interface: Interface) -> None:
    line.mend()
    backup = str(shop.stack.run_procedure("back-up-database", ENVIRONMENT)["message"]).split()[1]
    assert shop.stack.run_procedure("verify-backup", ENVIRONMENT, backup=backup)["ending"] == "Done"
    line.slow_down(PACE)
    words = ("-p", f"backup={backup}", "-p", f"accept_loss={EVERYTHING}", "--wait")
    with shop.stack.begin("run", "restore-and-verify", ENVIRONMENT, *words) as process:
        see_it_move(process, interface, f"Restoring {backup}")
        line.mend()
        rest, _ = process.communicate(timeout=RUN_SECONDS)
    assert "Done: " in rest


def see_it_move(process: subprocess.Popen[str], interface: Interface, what: str) -> None:
    """Two lines in the terminal, and the run's page at each."""
    assert process.stdout
    run_id = process.stdout.readline().strip().rpartition("/")[2]
    shown = (found for line in process.stdout if what in line and (found := TOLD.search(line)))
    seen, pages = [], []
    for _ in range(2):
        seen.append(next(shown))
        pages.append(float(interface.artifacts(run_id)["transfer"]))
        (told,) = [told for told in interface.progress(run_id) if what in told]
        assert TOLD.search(told), told
    done = [float(found[1]) for found in seen]
    assert 0 < done[0] < done[1] <= float(seen[1][2])
    assert 0 < pages[0] <= pages[1] < 100
