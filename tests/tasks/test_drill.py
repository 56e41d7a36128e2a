"""The drill is drilled: whatever is wrong with backup, release or objectives, its verdict says so. Nothing is left."""

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pyrage
import pytest

from blocks.cache import RedisCache
from blocks.drills import Drills, Scenario
from blocks.errors import BadParameter
from blocks.escrow import Escrow, seal_escrow
from blocks.postgres.programs import find_programs_for
from blocks.postgres.scratch import PREFIX
from blocks.stores.directory import DirectoryStore
from tasks.archive import Target
from tasks.drill import Drill, DrillFailed
from tasks.drill_database_loss import hold_database_loss
from tasks.drill_holding import choose_backup, hold_drill
from tasks.drill_recovery_test import hold_recovery_test
from tasks.drill_region_loss import hold_region_loss
from tasks.drill_report import DrillReport, in_short
from tasks.drill_service_outage import hold_service_outage
from tasks.drill_steps import Server, read_newest_write
from tasks.drill_total_loss import hold_total_loss
from tests.databases.practice import Practice, practising
from tests.deployments.shop.processes import Postgres
from tests.ledger_database import LedgerDatabase
from tests.tasks.drilled_release import INSIDE, USE_CACHE, VERSION, make_repository, service, trial

pytestmark = pytest.mark.parametrize("postgres", [18], indirect=True, ids=["PostgreSQL 18"])

SCRIPT = """
CREATE TABLE note (id bigserial PRIMARY KEY, text text NOT NULL);
CREATE TABLE heartbeat (at timestamptz NOT NULL);
INSERT INTO note (text) SELECT md5(n::text) FROM generate_series(1, 500) n;
INSERT INTO heartbeat VALUES (now() - interval '30 seconds');
"""
HEARTBEAT = "SELECT max(at) FROM heartbeat"
SCENARIOS: dict[Scenario, Callable[[Drill], None]] = {
    "recovery-test": hold_recovery_test.fn,
    "database-loss": hold_database_loss.fn,
    "service-outage": hold_service_outage.fn,
    "region-loss": hold_region_loss.fn,
    "total-loss": hold_total_loss.fn,
}
BEYOND_ITS_OWN = "127.0.0.1:1"


@pytest.fixture(scope="module")
def shared_practice(
    shared_ledger: LedgerDatabase, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Practice]:
    folder = tmp_path_factory.mktemp("drills")
    with practising(shared_ledger, postgres, folder, SCRIPT) as practice:
        parts = {
            "source": make_repository(folder / "repository"),
            "service": service("http://127.0.0.1:1"),
            "trial": trial(REACH=f"127.0.0.1:{postgres.port}"),
            "drills": Drills(newest_write=HEARTBEAT),
            "region_copy": DirectoryStore(folder=str(folder / "elsewhere")),
        }
        practice.environment = practice.environment.model_copy(update=parts)
        yield practice


@pytest.fixture
def practice(
    ledger: LedgerDatabase, shared_practice: Practice, evidence: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Practice]:
    """With a backup of the release; what a drill leaves behind fails the test."""
    backup = shared_practice.unchanged
    if backup.manifest.release != VERSION:  # no platform told it
        shared_practice.unchanged = shared_practice.edit_manifest(backup, release=VERSION)
        shutil.copytree(shared_practice.store_folder, shared_practice.folder / "elsewhere")
    _forget_digests()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(psutil.Process().children())
    yield shared_practice
    assert set(psutil.Process().children()) <= before
    assert list(tmp_path.glob(f"{PREFIX}*")) == []


def drill(
    practice: Practice, scenario: Scenario = "recovery-test", backup: str | None = None, **parts: Any
) -> DrillReport:
    """`parts`: of the environment, in place of what it has."""
    environment = practice.environment.model_copy(update=parts)
    with practice.run("drills"):
        chosen = choose_backup(environment, scenario, practice.unchanged.id if backup is None else backup)
        return hold_drill(Drill(environment, scenario), SCENARIOS[scenario], chosen)


def told(report: DrillReport) -> str:
    return " ".join(finding.what for finding in report.findings)


@contextmanager
def edited(path: Path, content: bytes | None) -> Iterator[None]:
    before = path.read_bytes()
    path.unlink() if content is None else path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


PHASES = {
    "recovery-test": "provision restore verify-data boot verify-service | clean-up",
    "database-loss": "stand-in | detect provision restore verify-data switch verify-service | clean-up",
    "service-outage": "stand-in | detect put-back verify-service | verify-data clean-up",
    "region-loss": "stand-in | detect provision restore verify-data boot switch verify-service | clean-up",
}


def region(folder: Path) -> dict[str, Any]:
    """Of an environment whose region is gone already, with a cache."""
    return {
        "store": DirectoryStore(folder=f"{folder}/gone"),
        "cache": RedisCache(url=f"file:{folder}/url"),
        "service": service("http://127.0.0.1:1", USE_CACHE),
    }


@pytest.mark.parametrize("scenario", PHASES)
def test_what_can_be_recovered_is_and_keeps_its_objectives(practice: Practice, scenario: Scenario) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours:
        reach = f"127.0.0.1:{ours.getsockname()[1]} {BEYOND_ITS_OWN}"
        parts = region(practice.folder) if scenario == "region-loss" else {}
        report = drill(practice, scenario, trial=trial("REDIS_URL", REACH=reach), **parts)

    assert (report.verdict, report.findings) == ("kept", []), told(report)
    parts = [part.split() for part in PHASES[scenario].split("|")]
    assert [phase.name.replace(" ", "-") for phase in report.phases] == [name for part in parts for name in part]
    counted = [phase for phase in report.phases if phase.counts]
    assert [phase.name.replace(" ", "-") for phase in counted] == parts[scenario != "recovery-test"]
    assert report.rto.measured_seconds == pytest.approx(sum(phase.seconds for phase in counted), abs=0.5)
    assert (report.backup, report.release) == (practice.unchanged.id, VERSION)
    assert report.before
    assert report.after
    assert set(report.after.passed) == {"app", "version", "smoke"}
    if scenario != "service-outage":
        assert report.before.content_sha256 == report.after.content_sha256
        assert 30 < (report.rpo.measured_seconds or 0) < 300
    assert report.rpo.verdict == report.rto.verdict == "kept"
    if scenario == "region-loss":
        assert report.read_from == "the copy in the other region; the store could not be read to compare"


def test_an_application_that_reaches_anybody_fails(practice: Practice) -> None:
    report = drill(practice, trial=trial(REACH=f"127.0.0.1:{INSIDE}"))
    assert report.verdict == "failed"
    assert "step 'reach nobody' answered reached =" in told(report)


def test_an_outage_that_costs_rows_is_not_kept(practice: Practice) -> None:
    statement = (
        "CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DELETE FROM heartbeat; RETURN NEW; END'"
    )
    practice.execute(statement)
    practice.execute(
        "CREATE TRIGGER forget AFTER INSERT ON note FOR EACH ROW WHEN (NEW.id > 501) EXECUTE FUNCTION forget()"
    )
    try:
        forgetful = practice.edit_manifest(practice.back_up(), release=VERSION)
    finally:
        practice.execute("DROP FUNCTION forget CASCADE")
    _forget_digests()
    report = drill(practice, "service-outage", forgetful.id)
    assert report.verdict == "failed"
    assert "Rows are gone after the outage: public.heartbeat" in told(report)


def _forget_digests() -> None:
    for path in Path(os.environ["BACKSTOP_EVIDENCE"]).rglob("*.sha256"):
        path.unlink()


@pytest.mark.parametrize("damage", ["a bit that flipped", "an object that is gone"])
def test_a_damaged_backup(practice: Practice, damage: str) -> None:
    path = practice.path(practice.unchanged, "files.tar.zst.age")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    with edited(path, bytes(content) if damage == "a bit that flipped" else None):
        report = drill(practice)
    assert (report.verdict, report.rto.verdict) == ("failed", "not measured")
    assert "files.tar.zst.age is not" in told(report)
    assert [phase.name for phase in report.phases] == ["provision", "restore", "clean up"]


def test_no_backup_at_all(practice: Practice, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    report = drill(
        practice, backup="", store=practice.environment.store.model_copy(update={"folder": str(tmp_path / "empty")})
    )
    assert (report.verdict, report.phases) == ("could not run", [])
    assert told(report) == "shop has no backup that could be restored."


def test_a_backup_that_was_never_made_is_a_wrong_parameter(practice: Practice) -> None:
    with pytest.raises(BadParameter, match=practice.unchanged.id):
        drill(practice, backup="20200101T000000Z-00000000")


def test_a_backup_that_restores_but_lost_a_table(practice: Practice) -> None:
    tables = [table.model_dump(mode="json") for table in practice.unchanged.manifest.tables]
    lost = {**tables[0], "name": "customer", "rows": 7}
    with edited(practice.path(practice.unchanged, "manifest.json"), b"{}"):
        practice.path(practice.unchanged, "manifest.json").write_text(practice.unchanged.manifest.model_dump_json())
        practice.edit_manifest(practice.unchanged, tables=[*tables, lost])
        report = drill(practice)
    assert (report.verdict, report.rto.verdict) == ("failed", "not measured")
    assert [finding.what for finding in report.findings] == [
        f"What was restored from {practice.unchanged.id} is not what was backed up.",
        "public.customer was not restored.",
    ]
    assert "public.customer was not restored." in in_short(report)


def test_a_release_that_cannot_boot_and_its_secret_is_not_told(practice: Practice) -> None:
    report = drill(practice, trial=trial(BREAKS="planted-secret"))
    assert report.verdict == "failed"
    assert "it ended: no such setting: …" in told(report)
    assert [phase.name for phase in report.phases][-2:] == ["boot", "clean up"]


def test_a_recovery_that_takes_too_long(practice: Practice) -> None:
    slow = [{"name": "slow", "sql": "SELECT pg_sleep(1.5) IS NOT NULL"}]
    backups = practice.environment.backups.model_copy(
        update={"assertions": practice.describe(assertions=slow).backups.assertions}
    )
    allowed = Drills(objectives={"recovery-test": {"rto_minutes": 0.02}})
    report = drill(practice, backups=backups, drills=allowed)
    assert (report.verdict, report.rto.verdict, report.rpo.verdict) == ("broken", "broken", "kept")
    assert (report.rto.measured_seconds or 0) > 1.5
    assert told(report).startswith("RTO: ")
    assert "by the time of the backup" in report.rpo.how


def test_a_backup_that_is_smaller_than_the_newest(practice: Practice) -> None:
    practice.execute("INSERT INTO note (text) SELECT 'more' FROM generate_series(1, 20000)")
    try:
        newest = practice.back_up()
    finally:
        practice.execute("DELETE FROM note WHERE text = 'more'")
    report = drill(practice)
    practice.path(newest, "manifest.json").unlink()
    assert (report.verdict, report.backup) == ("kept", practice.unchanged.id)
    assert report.estimate
    assert (report.estimate.backup, report.estimate.times_as_large > 4) == (newest.id, True)
    assert report.estimate.seconds > (report.rto.measured_seconds or 0)


def test_writes_that_are_too_old_in_a_backup_that_is_not(practice: Practice) -> None:
    practice.execute("UPDATE heartbeat SET at = at - interval '3 hours'")
    try:
        backup = practice.edit_manifest(practice.back_up(), release=VERSION)
    finally:
        practice.execute("UPDATE heartbeat SET at = at + interval '3 hours'")
    _forget_digests()
    allowed = Drills(newest_write=HEARTBEAT, objectives={"recovery-test": {"rpo_minutes": 60}})
    report = drill(practice, backup=backup.id, drills=allowed)
    practice.path(backup, "manifest.json").unlink()
    assert (report.verdict, report.rto.verdict, report.rpo.verdict) == ("broken", "kept", "broken")
    assert told(report) == "RPO: 3.0 hours; 60 minutes are allowed."
    assert report.disaster_at
    assert report.disaster_at - backup.dated < timedelta(minutes=60)


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("SELECT 'yesterday'", "answers yesterday, not a time with its zone"),
        ("SELECT max(at)::timestamp FROM heartbeat", "not a time with its zone"),
        ("SELECT max(at) FROM nowhere", 'relation "nowhere" does not exist'),
        ("DELETE FROM heartbeat RETURNING at", "cannot execute DELETE in a read-only transaction"),
    ],
    ids=["word", "without-zone", "no-table", "writes"],
)
def test_writes_whose_age_nobody_can_tell(practice: Practice, query: str, problem: str) -> None:
    with pytest.raises(DrillFailed, match=problem):
        measured_on_live(practice, query)


def test_a_newest_write_after_the_disaster_is_no_measure_and_none_at_all_is_the_backups(practice: Practice) -> None:
    ahead = measured_on_live(practice, "SELECT now() + interval '2 hours'")
    assert (ahead.rpo.verdict, ahead.rpo.measured_seconds) == ("not measured", None)
    assert "so a clock is wrong" in ahead.rpo.how
    empty = measured_on_live(practice, "SELECT max(at) FROM heartbeat WHERE false")
    assert empty.rpo.verdict == "kept"
    assert "as nothing was written before it" in empty.rpo.how


def measured_on_live(practice: Practice, query: str) -> DrillReport:
    """As if the live database were what was restored: asking it takes no restore."""
    target = Target(practice.server.url(), practice.database, find_programs_for(practice.major))
    environment = practice.environment.model_copy(update={"drills": Drills(newest_write=query)})
    with practice.run("drills"):
        drill = Drill(environment, "recovery-test", backup=practice.unchanged)
        drill.strike()
        read_newest_write(drill, Server(target, [], ""))
        drill.recover()
        return drill.report()


def test_a_drill_that_is_pointed_at_production(practice: Practice, tmp_path: Path) -> None:
    (tmp_path / "live").write_text(practice.server.url().replace("127.0.0.1", "localhost"))
    live = f"file:{tmp_path}/live"
    for parts in (
        {"backups": practice.environment.backups.model_copy(update={"scratch_url": live})},
        {"trial": trial(ANALYTICS_URL=live)},
    ):
        report = drill(practice, **parts)
        assert (report.verdict, report.phases, report.disaster_at) == ("could not run", [], None)
        assert "The drill would reach what is live" in told(report)
        assert "leads to the database of shop" in told(report)


def test_a_machine_that_cannot_cut_off_does_not_boot_it_in_a_weaker_way(
    practice: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blocks.cut_off.sys", SimpleNamespace(executable="/bin/false"))
    report = drill(practice)
    assert (report.verdict, report.isolation) == ("could not run", "")
    assert "cannot be cut off from the network here" in told(report)


def test_a_region_whose_backups_are_lost_with_it(practice: Practice) -> None:
    report = drill(practice, "region-loss", "", region_copy=None)
    assert (report.verdict, report.phases) == ("could not run", [])
    assert "shop has no part `region_copy`: its backups are lost with their region." in told(report)


def test_a_total_loss_without_an_escrow(practice: Practice) -> None:
    report = drill(practice, "total-loss")
    assert (report.verdict, [phase.name for phase in report.phases]) == ("could not run", ["open escrow", "clean up"])
    assert "shop names no escrow" in told(report)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"key": "another"}, "The escrow cannot be opened"),
        ({"lacks": "backup_url"}, "lacks file:"),
        ({"environment": "other"}, "The escrow is that of other."),
        ({"repository": "/nowhere"}, "The code cannot be cloned"),
    ],
    ids=["another key", "lacks a reference", "another environment", "no code"],
)
def test_an_escrow_that_would_not_help(practice: Practice, tmp_path: Path, wrong: dict[str, str], problem: str) -> None:
    keys = {name: pyrage.x25519.Identity.generate() for name in ("right", "another")}
    names = [f"file:{practice.folder}/{name}" for name in ("url", "backup_url", "identity")]
    names += ["${NOT_THERE}"]
    escrow = Escrow(
        environment=wrong.get("environment", "shop"),
        made_at=datetime.now(UTC),
        file="environment: shop",
        repository=wrong.get("repository", practice.environment.source.folder),
        references={name: "x" for name in names if not name.endswith(f"/{wrong.get('lacks')}")},
        application={},
    )
    (tmp_path / "escrow.age").write_bytes(seal_escrow(escrow, [str(keys["right"].to_public())]))
    (tmp_path / "key").write_text(str(keys[wrong.get("key", "right")]))
    report = drill(
        practice, "total-loss", drills=Drills(escrow=f"{tmp_path}/escrow.age", escrow_identity=f"file:{tmp_path}/key")
    )
    assert report.verdict == "failed", told(report)
    assert problem in told(report)


def test_an_environment_that_cannot_be_drilled(practice: Practice) -> None:
    report = drill(practice, trial=None)
    assert report.verdict == "could not run"
    assert "no part `trial`" in told(report)
