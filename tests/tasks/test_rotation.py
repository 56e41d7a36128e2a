"""Steps of a rotation where a sink does not do what it was asked for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.environment import Environment
from blocks.errors import SecretIsBad
from blocks.metrics.prometheus_endpoint import PrometheusEndpoint
from blocks.platforms.interface import Platform
from blocks.platforms.sandbox import SandboxPlatform
from blocks.rotation import Rotation
from blocks.service import Service
from blocks.sinks.env_file import EnvFile
from blocks.sinks.interface import Values
from blocks.sources.git_repository import GitRepository
from flows.guards.lock import locked
from tasks.ledger import Run
from tasks.rotation import Rotating, supply_sinks
from tasks.traffic import TrafficBefore
from tests.blocks.ledger.approvals_key import VARIABLE, new_key

OLD, NEW = "postgresql://a:old@127.0.0.1:1/app", "postgresql://b:hunter2@127.0.0.1:1/app"


@pytest.fixture
def rotating(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rotating]:
    """Two files have to be given the new value."""
    monkeypatch.setenv(VARIABLE, new_key())
    sinks = [{"type": "env-file", "path": str(tmp_path / name)} for name in ("first", "second")]
    for sink in sinks:
        Path(sink["path"]).write_text(f"URL={OLD}\n")
    secret = {"type": "postgres-role", "variable": "URL", "roles": ["a", "b"], "rotate_url": "${X}", "sinks": sinks}
    environment = Environment(
        environment="shop",
        platform=SandboxPlatform(url="http://127.0.0.1:1", token="${NOT_THERE}", timeout=1),
        service=Service(url="http://127.0.0.1:1"),
        metrics=PrometheusEndpoint(),
        source=GitRepository(folder="unused"),
        secrets=Rotation.model_validate({"rotated": {"database": secret}}),
    )
    traffic = TrafficBefore(run_id=run.id, version="", split={}, known=[])
    with locked(environment):
        rotating = Rotating(environment, run.id, {"database": {"URL": OLD}}, traffic)
        rotating.new = {"database": {"URL": NEW}}
        yield rotating


def held(tmp_path: Path) -> list[str]:
    return [(tmp_path / name).read_text().removeprefix("URL=").strip() for name in ("first", "second")]


def test_every_sink_is_given_the_value_and_one_that_has_it_is_left_alone(rotating: Rotating, tmp_path: Path) -> None:
    supply_sinks.fn(rotating)
    assert held(tmp_path) == [NEW, NEW]
    before = (tmp_path / "first").stat().st_ino
    supply_sinks.fn(rotating)
    assert (tmp_path / "first").stat().st_ino == before


def test_a_sink_that_takes_the_value_and_keeps_the_old_one_is_found(
    rotating: Rotating, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = EnvFile.write

    def forget(sink: EnvFile, platform: Platform, values: Values) -> None:
        if not sink.path.endswith("second"):
            write(sink, platform, values)

    monkeypatch.setattr(EnvFile, "write", forget)
    with pytest.raises(SecretIsBad, match="second took the value and does not hold it") as raised:
        supply_sinks.fn(rotating)
    assert "hunter2" not in repr(raised.value)
    assert held(tmp_path) == [NEW, OLD]


def test_nothing_that_holds_values_shows_them(rotating: Rotating, run: Run) -> None:
    supply_sinks.fn(rotating)
    rows = run.connection.execute("SELECT detail::text AS detail FROM audit").fetchall()
    told = f"{rotating!r} {rows}"
    assert "supply sink" in told
    assert "hunter2" not in told
