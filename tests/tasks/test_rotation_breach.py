"""What a human is told where a rotation after a breach could not go on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.environment import Environment
from blocks.errors import RefusedBySink, SecretIsBad
from blocks.metrics.prometheus_endpoint import PrometheusEndpoint
from blocks.platforms.sandbox import SandboxPlatform
from blocks.rotation import Rotation
from blocks.service import Service
from blocks.sources.git_repository import GitRepository
from flows.guards.lock import locked
from tasks.ledger import Run
from tasks.rotation import Rotating
from tasks.rotation_breach import Failures, prove_finished, supply_all_sinks
from tasks.rotation_plan import choose_secrets
from tasks.traffic import TrafficBefore
from tests.blocks.ledger.approvals_key import VARIABLE, new_key

OLD, NEW = "postgresql://a:old@127.0.0.1:1/app", "postgresql://b:hunter2@127.0.0.1:1/app"


@pytest.fixture
def rotating(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rotating]:
    """A value that two directories have to be given; the first is gone."""
    monkeypatch.setenv(VARIABLE, new_key())
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "KEY").write_text(OLD)
    sinks = [{"type": "directory", "path": str(tmp_path / name)} for name in ("first", "second")]
    held = {"type": "generated", "variable": "KEY", "means": "nothing"}
    secret = {"type": "postgres-role", "variable": "KEY", "roles": ["a", "b"], "rotate_url": "${NOT_THERE}"}
    environment = Environment(
        environment="shop",
        platform=SandboxPlatform(url="http://127.0.0.1:1", token="${NOT_THERE}", timeout=1),
        service=Service(url="http://127.0.0.1:1"),
        metrics=PrometheusEndpoint(),
        source=GitRepository(folder="unused"),
        secrets=Rotation.model_validate(
            {"rotated": {"database": {**secret, "sinks": sinks}, "webhook": {**held, "sinks": sinks}}}
        ),
    )
    with locked(environment):
        traffic = TrafficBefore(run_id=run.id, version="", split={}, known=[])
        rotating = Rotating(environment, run.id, {"database": {"KEY": OLD}}, traffic, emergency=True)
        rotating.new = {"database": {"KEY": NEW}}
        yield rotating


def test_a_sink_that_fails_keeps_nobody_from_the_others_and_all_is_told(rotating: Rotating, tmp_path: Path) -> None:
    failures = Failures()
    supply_all_sinks.fn(rotating, failures)
    assert (tmp_path / "second" / "KEY").read_text() == NEW
    with pytest.raises(SecretIsBad) as raised:
        prove_finished.fn(rotating, failures)
    told = str(raised.value)
    for line in (
        "there is no such directory",
        "database: the old one is refused or not: that cannot be seen now.",
        f"database: the directory {tmp_path}/first cannot be read.",
        f"database: the directory {tmp_path}/second holds the new one.",
        "start roll-back-rotation",
    ):
        assert line in told
    assert "hunter2" not in repr(raised.value)


def test_of_what_consumers_hold_it_is_told_who_refuses_it(rotating: Rotating) -> None:
    rotating.old["webhook"] = {"KEY": OLD}
    rotating.secrets = choose_secrets(rotating.environment, "webhook")
    failures = Failures()
    failures.reasons.append("The release did not start.")
    with pytest.raises(SecretIsBad, match="webhook: the old one is refused by whoever was started with the new one"):
        prove_finished.fn(rotating, failures)


def test_only_what_is_foreseen_is_noted() -> None:
    failures = Failures()
    with failures.noted("database"):
        raise RefusedBySink("no")
    assert (failures.reasons, failures.secrets) == (["no"], {"database"})
    with pytest.raises(KeyError), failures.noted("database"):
        raise KeyError
