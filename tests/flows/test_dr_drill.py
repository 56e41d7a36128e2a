"""A drill of the sample service, as a run: its ending, its evidence, who is told, and what a killed one leaves."""

import hashlib
import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pyrage
import pytest
import yaml
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from blocks.environment import load_environment
from blocks.ledger.connection import connect
from blocks.ledger.fence import Fence
from blocks.postgres.scratch import PREFIX
from deployments.apply import ROOT
from deployments.stack.state import write_private
from tasks.drills_due import load_environments_with_drills, start_drill_if_due
from tests.blocks.platforms.waiting import eventually
from tests.ended import have_ended
from tests.flows.records import RUN_SECONDS, Records
from tests.flows.runner import running_procedures
from tests.flows.shop_database import ShopDatabase
from tests.prefect_server import prefect_api, read_deployment
from tests.running_stack import RunningStack

DRILLED, STRICT, ASTRAY, LOST = "shop-drilled", "shop-drilled-strictly", "shop-drilled-astray", "shop-lost"
STAGING = ROOT / "deployments" / "environments" / "shop-staging.yaml"
STRICT_OBJECTIVES = {"recovery-test": {"rto_minutes": 0.001}, "region-loss": {"rpo_minutes": 0.001}}


@pytest.fixture(scope="module")
def store(shared_stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the environments of these tests, which differ in what they ask of a drill."""
    shared_stack.mend()
    folder = tmp_path_factory.mktemp("drilled")
    (folder / "store").mkdir()
    (folder / "closed-channel").write_text("json://127.0.0.1:1/")
    staging = {**yaml.safe_load(STAGING.read_text()), "store": {"type": "directory", "folder": f"{folder}/store"}}
    differences: dict[str, dict[str, Any]] = {
        DRILLED: {"drills": {}},
        STRICT: {
            "drills": {"objectives": STRICT_OBJECTIVES, "time_zone": "Europe/Berlin"},
            "notices": {"channels": [f"file:{folder}/closed-channel"]},
            "region_copy": {"type": "directory", "folder": f"{folder}/elsewhere"},
        },
        ASTRAY: {"backups": {**staging["backups"], "scratch_url": "${SHOP_STAGING_RESTORE_DATABASE_URL}"}},
        LOST: {
            "drills": {"escrow": f"{folder}/escrow", "escrow_identity": f"file:{folder}/escrow-key"},
            "approvals": {"procedures": {"restore-and-verify": {"needed": 1}}},  # of whom nobody is left
            "notices": {"channels": [f"file:{folder}/closed-channel"]},
        },
    }
    for name, parts in differences.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({**staging, "environment": name, **parts}))
    shared_stack.run("apply", *(str(folder / f"{name}.yaml") for name in differences))
    return folder / "store"


@pytest.fixture(scope="module")
def escrow(shared_stack: RunningStack, store: Path) -> Path:
    """Of LOST, which has a proven backup."""
    for procedure in ("back-up-database", "verify-backup"):
        made = shared_stack.run_procedure(procedure, LOST)
        assert made["ending"] == "Done", made
    key, folder = pyrage.x25519.Identity.generate(), store.parent
    write_private(folder / "escrow-key", str(key))
    shared_stack.run(
        *("escrow", "make", str(folder / f"{LOST}.yaml")),
        *("--for", str(key.to_public()), "--output", str(folder / "escrow")),
    )
    return folder / "escrow"


@pytest.fixture(scope="module")
def backup(shared_stack: RunningStack, store: Path) -> str:
    """The id of the one that DRILLED has; STRICT has one, too, and ASTRAY none."""
    made = [shared_stack.run_procedure("back-up-database", name) for name in (STRICT, DRILLED)]
    assert {one["ending"] for one in made} == {"Done"}, made
    return str(made[-1]["message"].split()[1])


def standing(stack: RunningStack, environment: str) -> dict[str, Any]:
    _, shown = stack.try_to_run("status", "--json")
    (found,) = [one for one in json.loads(shown)["environments"] if one["environment"] == environment]
    return dict(found)


def evidence(store: Path, environment: str) -> list[Path]:
    """The reports, oldest first."""
    return sorted((store / environment / "drills").glob("*.json"))


def test_one_that_keeps_its_objectives_leaves_evidence_and_a_ready_environment(
    stack: RunningStack, store: Path, backup: str, records: Records
) -> None:
    assert standing(stack, DRILLED)["not_ready"] == ["it was never drilled; `backstop run dr-drill` does it"]
    rows = ShopDatabase(stack).rows()

    result = stack.run_procedure("dr-drill", DRILLED, requested_by="Ada")

    assert (result["ending"], result["exit_code"]) == ("Done", 0), result["message"]
    assert "kept its objectives: recovered and verified in" in result["message"]
    (path,) = evidence(store, DRILLED)
    report, manifest = (
        json.loads(path.read_text()),
        json.loads((store / DRILLED / backup / "manifest.json").read_text()),
    )
    assert (report["verdict"], report["backup"], report["release"]) == ("kept", backup, manifest["release"])
    assert (report["rto"]["verdict"], report["rpo"]["verdict"]) == ("kept", "kept")
    assert report["after"]["passed"] == ["app", "GET /version", "GET /tasks", "version", "smoke"]
    (ended,) = records.events(result["run"], "drill ended")
    assert ended["evidence"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert ended["evidence"]["page_sha256"] == hashlib.sha256(path.with_suffix(".html").read_bytes()).hexdigest()
    assert records.report(DRILLED, result["run"])["drill"] == report
    secrets = [value for name, value in stack.surroundings.items() if name.startswith("SHOP_STAGING_")]
    assert secrets
    kept = path.read_text() + path.with_suffix(".html").read_text()
    assert [secret for secret in secrets if secret in kept] == []
    assert ShopDatabase(stack).rows() == rows
    assert records.effects(result["run"]) == []
    records.assert_settled(f"{DRILLED}/drills")
    ready = standing(stack, DRILLED)
    assert (ready["not_ready"], ready["drills"]) == ([], "last kept 0.0 days ago (recovery-test)")


def test_one_that_breaks_an_objective_is_not_ready_whatever_else_passes(
    stack: RunningStack, store: Path, backup: str, records: Records
) -> None:
    broken = stack.run_procedure("dr-drill", STRICT)
    assert (broken["ending"], broken["exit_code"]) == ("Refused", 1)
    assert f"The drill recovery-test of {STRICT} broke an objective" in broken["message"]
    assert len(records.events(broken["run"], "notice failed")) == 1  # somebody was told, or would have been
    (line,) = standing(stack, STRICT)["not_ready"]
    assert line.startswith("its last drill broken: ")

    passed = stack.run_procedure("dr-drill", STRICT, scenario="service-outage")
    assert passed["ending"] == "Done", passed["message"]
    assert standing(stack, STRICT)["not_ready"] == [line], "that an outage is survived says nothing about the backup"
    page = evidence(store, STRICT)[-1].with_suffix(".html").read_text()
    assert "recovery-test" in page
    assert '<span class="verdict broken">broken</span>' in page


def test_a_lost_region_is_recovered_from_a_copy_that_is_behind(stack: RunningStack, store: Path, backup: str) -> None:
    shutil.copytree(store / STRICT, store.parent / "elsewhere" / STRICT)
    newer = stack.run_procedure("back-up-database", STRICT)["message"].split()[1]

    result = stack.run_procedure("dr-drill", STRICT, scenario="region-loss")

    assert (result["ending"], result["exit_code"]) == ("Refused", 1)
    assert f"The drill region-loss of {STRICT} broke an objective" in result["message"]
    report = json.loads(evidence(store, STRICT)[-1].read_text())
    assert (report["rto"]["verdict"], report["rpo"]["verdict"]) == ("kept", "broken"), result["message"]
    assert report["backup"] != newer
    assert report["read_from"].endswith(f" behind: the store has {newer}")
    assert report["before"]["content_sha256"] == report["after"]["content_sha256"]
    assert report["after"]["passed"] == ["app", "GET /version", "GET /tasks", "version", "smoke"]
    assert list((store.parent / "elsewhere" / STRICT).glob("drills/*region-loss*")) == [], "evidence goes to the store"


def rebuilt() -> set[Path]:
    """Folders of what a total loss is recovered into."""
    return set(Path("/tmp").glob(f"{PREFIX}rebuilt*"))  # noqa: S108 (where they lie)


@pytest.mark.drill
@pytest.mark.timeout(900)  # a whole stack is brought up in it
def test_after_a_total_loss_all_is_rebuilt_from_store_code_and_escrow(
    stack: RunningStack, store: Path, escrow: Path, records: Records
) -> None:
    rows, folders = ShopDatabase(stack).rows(), rebuilt()

    result = stack.run_procedure("dr-drill", LOST, scenario="total-loss")

    assert (result["ending"], result["exit_code"]) == ("Done", 0), result["message"]
    (path,) = evidence(store, LOST)
    report = json.loads(path.read_text())
    names = ["open escrow", "download", "provision", "restore", "verify data", "boot", "switch", "verify service"]
    assert [phase["name"] for phase in report["phases"] if phase["counts"]] == names
    manifest = json.loads((store / LOST / report["backup"] / "manifest.json").read_text())
    assert (report["rto"]["allowed_seconds"], report["release"]) == (240 * 60, manifest["release"])
    assert report["before"]["content_sha256"] == report["after"]["content_sha256"]
    assert report["after"]["passed"] == ["app", "GET /version", "GET /tasks", "version", "smoke"]
    assert records.effects(result["run"]) == [], "what was restored, was in another ledger"
    assert ShopDatabase(stack).rows() == rows
    assert rebuilt() <= folders
    kept = path.read_text() + path.with_suffix(".html").read_text()
    secrets = [value for name, value in stack.surroundings.items() if name.startswith(("SHOP_STAGING_", "BACKSTOP_A"))]
    assert [secret for secret in secrets if secret in kept] == []


def test_a_total_loss_that_is_killed_leaves_no_process_and_no_folder(
    stack: RunningStack, escrow: Path, records: Records
) -> None:
    folders = rebuilt()
    with running_procedures(stack) as runner:
        before = records.newest_run(LOST)
        runner.begin("dr-drill", LOST, scenario="total-loss")
        records.wait_until_begun(LOST, before)
        family: list[psutil.Process] = []

        def has_its_own_postgres() -> bool:
            family[:] = psutil.Process(runner.process.pid).children(recursive=True)
            found = [folder for one in family if (folder := data_folder(one))]
            return any(folder.is_relative_to(own) for folder in found for own in rebuilt() - folders)

        eventually(has_its_own_postgres, RUN_SECONDS)
        runner.process.send_signal(signal.SIGKILL)
        eventually(lambda: have_ended(*family))
    eventually(lambda: rebuilt() <= folders, RUN_SECONDS)
    records.assert_settled(f"{LOST}/drills")


def test_one_that_would_touch_what_is_live_connects_to_nothing(stack: RunningStack, store: Path, backup: str) -> None:
    result = stack.run_procedure("dr-drill", ASTRAY)
    assert (result["ending"], result["exit_code"]) == ("Refused", 1)
    assert (
        "could not run: The drill would reach what is live: backups.scratch_url leads to the database"
        in (result["message"])
    )
    report = json.loads(evidence(store, ASTRAY)[-1].read_text())
    assert (report["phases"], report["disaster_at"]) == ([], None)


def test_each_environment_is_drilled_every_quarter_by_its_own_clock(stack: RunningStack, store: Path) -> None:
    with prefect_api(stack) as api:
        schedules = {one["slug"]: one for one in read_deployment(api, "dr-drill")["schedules"]}
        (daily,) = read_deployment(api, "drills-due")["schedules"]
    for name, zone in ((DRILLED, "UTC"), (STRICT, "Europe/Berlin")):
        quarterly = schedules[f"quarterly-{name}"]
        assert (quarterly["schedule"]["cron"], quarterly["schedule"]["timezone"]) == ("0 9 1 1,4,7,10 *", zone)
        assert quarterly["parameters"] == {"environment": name}
    assert (daily["slug"], daily["parameters"]) == ("daily", {})


def test_one_that_is_due_is_started_and_not_twice(
    stack: RunningStack, store: Path, backup: str, records: Records, as_worker: None
) -> None:
    environment = load_environment(ASTRAY)
    assert {found.environment for found in load_environments_with_drills()} >= {DRILLED, STRICT, ASTRAY}
    before = records.newest_run(ASTRAY)

    row = start_drill_if_due.fn(environment, datetime.now(UTC))

    assert row == {"environment": ASTRAY, "started": "dr-drill", "why": "No drill has kept its objectives yet."}
    ended = records.wait_for_ending(records.wait_until_begun(ASTRAY, before))
    assert (ended["procedure"], ended["requested_by"], ended["ending"]) == ("dr-drill", "drills-due", "Refused")
    with held(f"{ASTRAY}/drills"):
        row = start_drill_if_due.fn(environment, datetime.now(UTC))
    assert (row["started"], row["why"]) == ("", "No drill has kept its objectives yet.")


@pytest.fixture
def as_worker(stack: RunningStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process has the worker's variables."""
    for name, value in stack.surroundings.items():
        monkeypatch.setenv(name, value)
    settings = {
        PREFECT_API_URL: stack.surroundings["PREFECT_API_URL"],
        PREFECT_API_AUTH_STRING: stack.surroundings["PREFECT_API_AUTH_STRING"],
    }
    with temporary_settings(settings):
        yield


@contextmanager
def held(name: str) -> Iterator[None]:
    """By a run of this process."""
    run_id = str(uuid4())
    with connect(run_id) as connection:
        connection.execute(
            "INSERT INTO run (id, procedure, environment, parameters, requested_by, ending)"
            " VALUES (%s, 'dr-drill', 'held by a test', '{}', 'Ada', 'Done')",
            [run_id],
        )
        fence = Fence(connection, name, run_id)
        fence.take()
        try:
            yield
        finally:
            fence.release()


@pytest.mark.parametrize(
    ("parameters", "named"),
    [({"scenario": "flood"}, "scenario"), ({"backup": "20200101T000000Z-00000000"}, "backup")],
    ids=["scenario", "backup"],
)
def test_a_wrong_parameter_is_refused_and_says_nothing_about_readiness(
    stack: RunningStack, store: Path, backup: str, records: Records, parameters: dict[str, str], named: str
) -> None:
    result = stack.run_procedure("dr-drill", DRILLED, **parameters)
    assert (result["ending"], result["exit_code"]) == ("Refused", 1)
    assert f"Parameter '{named}' was" in result["message"]
    assert records.events(result["run"], "drill began") == []


def data_folder(process: psutil.Process) -> Path | None:
    """Of a PostgreSQL server; None for any other process, and for one that was killed before."""
    with suppress(psutil.Error):
        words = process.cmdline()
        return Path(words[words.index("-D") + 1]) if "-D" in words else None
    return None


def server_folder(process: psutil.Process) -> Path | None:
    """Of a throw-away server, which lies elsewhere; None for any other process."""
    data = data_folder(process)
    return data.parent if data and data.parent.name.startswith(PREFIX) else None


@pytest.fixture
def leftovers(tmp_path: Path) -> Iterator[list[Path]]:
    """Folders of the killed drill's server, which lie elsewhere; filled by the test."""
    folders: list[Path] = []
    yield folders
    eventually(lambda: not any(folder.exists() for folder in [*folders, *tmp_path.glob(f"{PREFIX}*")]))


def test_one_that_is_killed_leaves_no_process_no_folder_and_nothing_armed(
    stack: RunningStack, store: Path, backup: str, records: Records, tmp_path: Path, leftovers: list[Path]
) -> None:
    with running_procedures(stack, TMPDIR=str(tmp_path)) as runner:
        before = records.newest_run(DRILLED)
        runner.begin("dr-drill", DRILLED, scenario="database-loss")
        run_id = records.wait_until_begun(DRILLED, before)
        eventually(lambda: {"phase": "switch"} in records.events(run_id, "phase began"), RUN_SECONDS)
        family = psutil.Process(runner.process.pid).children(recursive=True)
        leftovers += [folder for one in family if (folder := server_folder(one))]
        assert leftovers

        runner.process.send_signal(signal.SIGKILL)

        eventually(lambda: have_ended(*family))
    records.assert_settled(DRILLED)
    records.assert_settled(f"{DRILLED}/drills")
    assert records.undos(run_id) == []
    records.wait_for_ending(run_id)
    (line,) = standing(stack, DRILLED)["not_ready"]
    assert line == f"its last drill (database-loss, run {run_id}) was interrupted"
