"""Each line of a deploy's prerequisites, met and unmet."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
from psycopg.types.json import Jsonb

from blocks.environment import Environment
from blocks.errors import BadParameter
from blocks.freeze import Freeze
from blocks.ledger.fence import Fence
from blocks.limits import Limits
from blocks.metrics.cloud_monitoring import CloudMonitoring
from blocks.metrics.prometheus_endpoint import PrometheusEndpoint
from blocks.platforms.sandbox import SandboxPlatform
from blocks.rollout import Rollout
from blocks.service import Service
from blocks.sources.git_repository import GitRepository
from blocks.stores.directory import DirectoryStore
from tasks import prerequisite
from tasks.ledger import Run
from tasks.prerequisite import Prerequisite, check_prerequisites
from tests.blocks.sources.test_ci_checks import COMMIT, check_run, pages_of
from tests.ledger_database import LedgerDatabase
from tests.tasks.catalogues import manifest_of
from tests.tasks.small_service import SmallService, status

HOUR = timedelta(hours=1)

Describe = Callable[..., Environment]


def now() -> datetime:
    """Asked in the test: it may be collected minutes before it runs."""
    return datetime.now(UTC)


@pytest.fixture
def platform() -> Iterator[SmallService]:
    """Answers as the sandbox's control API does."""
    answers = {"GET /disk": status(200, {"free_bytes": 600_000_000}), "GET /traffic": status(200, {"split": {}})}
    with SmallService(answers) as service:
        yield service


@pytest.fixture
def describe(platform: SmallService, run: Run, monkeypatch: pytest.MonkeyPatch) -> Describe:
    monkeypatch.setenv("SANDBOX_TOKEN", "token")

    def describe(ci_url: str | None = None, **rollout: Any) -> Environment:
        return Environment(
            environment="shop",
            platform=SandboxPlatform(url=platform.url, token="${SANDBOX_TOKEN}", timeout=1),
            service=Service(url="http://127.0.0.1:1"),
            metrics=PrometheusEndpoint(),
            source=GitRepository(folder="unused", ci_url=ci_url),
            rollout=Rollout(**rollout),
        )

    return describe


def look(
    environment: Environment,
    name: str,
    *,
    commit: str | None = COMMIT,
    target: str | None = "v1.0.0",
    hotfix: bool = False,
) -> Prerequisite | None:
    lines = check_prerequisites(environment, "v1.1.0", commit, target, hotfix)
    return {line.name: line for line in lines}.get(name)


def assert_line(line: Prerequisite | None, met: bool, detail: str) -> None:
    assert line
    assert (line.met, detail in line.detail) == (met, True), line


def test_an_environment_that_asks_for_little(describe: Describe) -> None:
    lines = check_prerequisites(describe(), "v1.1.0", COMMIT, "v1.0.0", hotfix=False)
    assert {line.name for line in lines} == {
        "release exists",
        "rollback target known",
        "environment free",
        "no freeze",
        "disk",
        "steps",
    }
    assert all(line.met and line.detail for line in lines)


def test_a_release_that_does_not_exist(describe: Describe) -> None:
    assert_line(look(describe(), "release exists", commit=None), False, "neither a tag nor a commit")


def test_the_first_release_needs_no_way_back(describe: Describe, platform: SmallService) -> None:
    assert_line(look(describe(), "rollback target known", target=None), True, "first release")
    platform.answers["GET /traffic"] = status(200, {"split": {"lost": 100}})
    assert_line(look(describe(), "rollback target known", target=None), False, "does not know the release")


def test_an_environment_that_another_run_holds(describe: Describe, run: Run, ledger: LedgerDatabase) -> None:
    with ledger.connect("run-2") as connection:
        ledger.open_run(connection, "run-2", "shop")
        Fence(connection, "shop", "run-2").take()
        assert_line(look(describe(), "environment free"), False, "deploy (run run-2, Ada) holds it since")


def test_an_environment_that_this_run_holds_itself(describe: Describe, run: Run) -> None:
    Fence(run.connection, "shop", "run-1").take()
    assert_line(look(describe(), "environment free"), True, "no other run")


@pytest.mark.parametrize(
    ("begins", "ends", "met"),
    [(-HOUR, HOUR, False), (HOUR, 2 * HOUR, True), (-2 * HOUR, -HOUR, True), (-HOUR, -timedelta(), True)],
    ids=["inside", "before", "after", "just ended"],
)
def test_a_freeze(describe: Describe, begins: timedelta, ends: timedelta, met: bool) -> None:
    freeze = Freeze(begins=now() + begins, ends=now() + ends, reason="black friday")
    line = look(describe(freezes=[freeze]), "no freeze")
    assert_line(line, met, "not inside" if met else "black friday")


@pytest.mark.parametrize(
    ("free", "met", "detail"),
    [
        (500_000_000, True, "at least 500 MB"),
        (499_999_999, False, "499 MB free; 500 MB are wanted"),
        (0, False, "0 MB free"),
    ],
)
def test_disk(describe: Describe, platform: SmallService, free: int, met: bool, detail: str) -> None:
    platform.answers["GET /disk"] = status(200, {"free_bytes": free})
    assert_line(look(describe(least_free_disk_mb=500), "disk"), met, detail)


def test_a_platform_that_does_not_answer_meets_nothing(describe: Describe, platform: SmallService) -> None:
    platform.answers["GET /disk"] = status(500)
    assert_line(look(describe(), "disk"), False, "failed with status 500")


def test_ci(describe: Describe, platform: SmallService) -> None:
    ci_url = f"{platform.url}/repos/ada/shop"
    path = f"GET /repos/ada/shop/commits/{COMMIT}/check-runs"
    platform.answers[f"GET /repos/ada/shop/commits/{COMMIT}/status"] = pages_of(of="statuses")
    platform.answers["GET /repos/ada/shop/actions/runs"] = pages_of(of="workflow_runs")
    platform.answers[path] = pages_of(check_run("test"))
    assert_line(look(describe(ci_url), "CI green"), True, COMMIT[:10])
    platform.answers[path] = pages_of(*(check_run(f"test {number}", "failure") for number in range(9)))
    assert_line(look(describe(ci_url), "CI green"), False, "not green: test 0, test 1, test 2, test 3, test 4")
    platform.answers[path] = status(503)
    assert_line(look(describe(ci_url), "CI green"), False, "failed with status 503")
    assert look(describe(ci_url), "CI green", commit=None) is None


class Backups:
    """A store, as others left it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def add(self, taken_at: datetime, kind: Literal["full", "schema-only"] = "full") -> None:
        manifest = manifest_of(taken_at, kind)
        self.write(manifest.id, manifest.model_dump_json())

    def write(self, name: str, manifest: str) -> None:
        (self.folder / "shop" / name).mkdir(parents=True)
        (self.folder / "shop" / name / "manifest.json").write_text(manifest)


@pytest.fixture
def backups(tmp_path: Path) -> Backups:
    return Backups(tmp_path / "backups")


@pytest.fixture
def with_backups(describe: Describe, backups: Backups) -> Environment:
    environment = describe(backup_hours=24)
    environment.store = DirectoryStore(folder=str(backups.folder))
    return environment


def test_no_backup(with_backups: Environment) -> None:
    assert_line(look(with_backups, "backup recent"), False, "no complete backup")


def test_the_newest_backup_counts(with_backups: Environment, backups: Backups) -> None:
    backups.add(now() - 30 * HOUR)
    assert_line(look(with_backups, "backup recent"), False, "30.0 h old; 24 h are allowed")
    backups.add(now() - 2 * HOUR)
    backups.add(now() - 300 * HOUR)
    assert_line(look(with_backups, "backup recent"), True, "2.0 h old")


def test_what_is_no_whole_backup_does_not_count(with_backups: Environment, backups: Backups) -> None:
    (backups.folder / "shop" / "20261121T020000Z-01234567").mkdir(parents=True)
    (backups.folder / "shop" / "20261121T020000Z-01234567" / "files.tar.zst").write_text("much")
    backups.write("20261121T030000Z-01234567", '{"taken_at": "2026-11-21T03:00:00+00:00"}')
    backups.add(now() - HOUR, "schema-only")
    backups.add(now() + 300 * HOUR)
    assert_line(look(with_backups, "backup recent"), False, "no complete backup")


def test_a_store_that_is_not_named_or_not_there(
    with_backups: Environment, backups: Backups, describe: Describe
) -> None:
    assert_line(look(describe(backup_hours=24), "backup recent"), False, "has no backup store")
    backups.folder.rmdir()
    assert_line(look(with_backups, "backup recent"), False, "is not there")


@pytest.fixture
def staging_runs(platform: SmallService, describe: Describe, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """What staging runs now, by its platform; without Prefect's server, where environments are kept."""

    def run_there(version: str) -> None:
        release = {"id": "r-1", "version": version, "commit": COMMIT, "state": "running", "url": None, "replicas": 1}
        release |= {"started_by": "", "created_at": now().isoformat()}
        platform.answers["GET /releases"] = status(200, {"releases": [release]})
        platform.answers["GET /traffic"] = status(200, {"split": {"r-1": 100}})

    monkeypatch.setattr(prerequisite, "load_environment", lambda name: describe())
    run_there("v1.0.0")
    return run_there


@pytest.mark.parametrize(
    ("differs", "met"),
    [
        ({}, True),
        ({"parameters": {"version": "v1.1.0", "plan_only": False}}, True),
        ({"parameters": {"version": "v1.1.0", "plan_only": True}}, False),
        ({"parameters": {"version": "v1.0.0"}}, False),
        ({"ending": "Rolled back"}, False),
        ({"ending": None}, False),
        ({"environment": "shop-production"}, False),
        ({"procedure": "health-check"}, False),
    ],
)
def test_what_staging_ran(
    describe: Describe, run: Run, staging_runs: Callable[[str], None], differs: dict[str, Any], met: bool
) -> None:
    row = {"procedure": "deploy", "environment": "shop-staging", "ending": "Done", "parameters": {"version": "v1.1.0"}}
    row |= differs
    run.connection.execute(
        "INSERT INTO run (id, procedure, environment, parameters, requested_by, ending)"
        " VALUES ('earlier', %(procedure)s, %(environment)s, %(json)s, 'Ada', %(ending)s)",
        {**row, "json": Jsonb(row["parameters"])},
    )
    line = look(describe(staging="shop-staging"), "staging ran it")
    assert_line(line, met, "deployed in shop-staging")


def test_what_staging_runs_now_counts_too(describe: Describe, staging_runs: Callable[[str], None]) -> None:
    staging_runs("v1.1.0")
    assert_line(look(describe(staging="shop-staging"), "staging ran it"), True, "runs in shop-staging")


def test_a_hotfix_says_that_it_skips_staging(describe: Describe) -> None:
    line = look(describe(staging="shop-staging"), "staging ran it", hotfix=True)
    assert_line(line, True, "waived: hotfix (shop-staging)")


def test_a_staging_that_was_never_applied(describe: Describe, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> Environment:
        raise BadParameter("environment", name, "an applied environment")

    monkeypatch.setattr(prerequisite, "load_environment", load)
    assert_line(look(describe(staging="nowhere"), "staging ran it"), False, "'nowhere'")


@pytest.mark.parametrize(
    ("differs", "hotfix", "short"),
    [
        ({}, False, ""),
        ({}, True, ""),
        ({"step_seconds": 300}, False, "rollout.step_seconds is 300"),
        ({"step_seconds": 0, "steps": [100]}, False, ""),
        ({"window_seconds": 360}, False, "rollout.window_seconds is 360"),
        ({"window_seconds": 360}, True, ""),
        ({"hotfix_window_seconds": 60}, True, "rollout.hotfix_window_seconds is 60"),
        ({"unmeasured_seconds": 15}, False, "limits.unmeasured_seconds is 15"),
    ],
)
def test_each_watch_is_longer_than_its_numbers_are_late(
    describe: Describe, differs: dict[str, Any], hotfix: bool, short: str
) -> None:
    late = CloudMonitoring(project="shop-project", region="europe-west1", service="shop", credentials="${GOOGLE_KEY}")
    watched = {"step_seconds": 600, "window_seconds": 900, "hotfix_window_seconds": 1800, **differs}
    limits = Limits(unmeasured_seconds=watched.pop("unmeasured_seconds", 420))
    environment = describe(**watched).model_copy(update={"metrics": late, "limits": limits})
    line = look(environment, "metrics in time", hotfix=hotfix)
    assert_line(line, not short, short or "numbers come up to 360 s late")
