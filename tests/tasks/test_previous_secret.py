"""What keeps a key from being retired: its time, data that it protects, backups that may need it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from blocks.environment import Environment
from blocks.errors import BackstopError
from blocks.metrics.prometheus_endpoint import PrometheusEndpoint
from blocks.platforms.sandbox import SandboxPlatform
from blocks.secrets.encryption_key import EncryptionKey
from blocks.secrets.held import told
from blocks.secrets.signing_key import SigningKey
from blocks.service import Service
from blocks.sinks.interface import Values
from blocks.sources.git_repository import GitRepository
from blocks.stores.directory import DirectoryStore
from tasks.ledger import Run
from tasks.previous_secret import measure_needed
from tasks.secret_age import ROTATED
from tests.tasks.catalogues import manifest_of
from tests.tasks.small_service import SmallService, status
from tests.tasks.test_secret_report import RELEASE

REPORT = {"path": "/secrets", "member": "x"}
COMMON = {"variable": "X", "sinks": [{"type": "platform"}], "report": REPORT}
DATA = EncryptionKey.model_validate(
    {"type": "encryption-key", **COMMON, "next_variable": "NEXT", "protects": {"path": "/encryption", "member": "all"}}
)
SESSION = SigningKey.model_validate({"type": "signing-key", **COMMON, "token_hours": 12})
HELD: Values = {"X": "new,old", "NEXT": ""}


@pytest.fixture
def service() -> Iterator[SmallService]:
    with SmallService({"GET /traffic": status(200, {"split": {"r1": 100}})}) as service:
        service.answers["GET /releases"] = status(200, {"releases": [{**RELEASE, "id": "r1", "url": service.url}]})
        yield service


@pytest.fixture
def environment(run: Run, service: SmallService, tmp_path: Path) -> Environment:
    """Its data key was rotated, and nothing is encrypted with the old one."""
    (tmp_path / "token").write_text("token")
    (tmp_path / "backups").mkdir()
    run.record(ROTATED, secret="data", previous_seconds=0)
    run.connection.execute("UPDATE run SET ending = 'Done' WHERE id = %s", [run.id])
    protects(service, new=7)
    return Environment(
        environment="shop",
        platform=SandboxPlatform(url=service.url, token=f"file:{tmp_path}/token"),
        service=Service(url=service.url, timeout=5),
        metrics=PrometheusEndpoint(),
        source=GitRepository(folder="unused"),
        store=DirectoryStore(folder=str(tmp_path / "backups")),
    )


def protects(service: SmallService, **records: object) -> None:
    service.answers["GET /encryption"] = status(200, {"all": {told(key): count for key, count in records.items()}})


def back_up(folder: Path, at: datetime) -> Path:
    manifest = manifest_of(at)
    path = folder / "backups" / "shop" / manifest.id / "manifest.json"
    path.parent.mkdir(parents=True)
    path.write_text(manifest.model_dump_json())
    return path


def needed(environment: Environment) -> list[str]:
    return measure_needed(environment, "data", DATA, HELD)


def test_nothing_needs_one_that_protects_nothing(environment: Environment) -> None:
    assert needed(environment) == []


def test_records_need_it(environment: Environment, service: SmallService) -> None:
    protects(service, new=7, old=2)
    assert needed(environment) == ["2 records are encrypted with it still"]


def test_backups_of_before_need_it_until_they_are_gone(environment: Environment, tmp_path: Path) -> None:
    kept = back_up(tmp_path, datetime.now(UTC) - timedelta(hours=1))
    for _ in range(2):
        (problem,) = needed(environment)
        assert problem.startswith("1 backups may need it: they are from before 20")
        assert problem.endswith(f"the newest of them is {kept.parent.name}")
    back_up(tmp_path, datetime.now(UTC) + timedelta(minutes=1))
    assert len(needed(environment)) == 1
    kept.unlink()
    assert needed(environment) == []


def test_records_that_came_back_begin_it_anew(environment: Environment, service: SmallService, tmp_path: Path) -> None:
    assert needed(environment) == []
    back_up(tmp_path, datetime.now(UTC))
    assert needed(environment) == [], "it is from after nothing was encrypted with it"
    protects(service, old=1)
    assert needed(environment) == ["1 records are encrypted with it still"]
    protects(service, old=0)
    assert "1 backups may need it" in needed(environment)[0]


@pytest.mark.parametrize("procedure", ["restore-and-verify", "restore-table", "undo-restore", "undo-restore-table"])
def test_a_restore_begins_it_anew(environment: Environment, run: Run, tmp_path: Path, procedure: str) -> None:
    assert needed(environment) == []
    back_up(tmp_path, datetime.now(UTC))
    assert needed(environment) == []
    run.connection.execute(
        "INSERT INTO run (id, procedure, environment, parameters, requested_by, ended_at)"
        " VALUES ('r', %s, 'shop', '{}', 'Ada', clock_timestamp())",
        [procedure],
    )
    assert "1 backups may need it" in needed(environment)[0]


def test_a_backup_that_cannot_be_read_may_need_it(environment: Environment, tmp_path: Path) -> None:
    damaged = back_up(tmp_path, datetime.now(UTC) + timedelta(minutes=1))
    damaged.write_text("{")
    (problem,) = needed(environment)
    assert problem.startswith(f"backup {damaged.parent.name}: ")


@pytest.mark.parametrize("told_of", [{"old": "many"}, {"old": None}])
def test_a_report_without_numbers_is_none(
    environment: Environment, service: SmallService, told_of: dict[str, object]
) -> None:
    protects(service, **told_of)
    with pytest.raises(BackstopError, match="does not report how many records each key protects"):
        needed(environment)


def test_one_whose_time_is_not_over_is_needed(environment: Environment, run: Run) -> None:
    run.record(ROTATED, secret="session", previous_seconds=3600)
    (problem,) = measure_needed(environment, "session", SESSION, HELD)
    assert problem.startswith("what was made with it is valid until 20")


def test_one_that_no_rotation_put_there_is_left_to_people(environment: Environment) -> None:
    (problem,) = measure_needed(environment, "session", SESSION, HELD)
    assert problem.startswith("no rotation put the previous one there")
    assert measure_needed(environment, "session", SESSION, {"X": "one"}) == ["X holds no previous one"]
