"""A sink carries out a write that was given up, after everything was put back."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from blocks.environment import Environment
from blocks.errors import Unreachable
from blocks.metrics.prometheus_endpoint import PrometheusEndpoint
from blocks.platforms.sandbox import SandboxPlatform
from blocks.rotation import Rotation
from blocks.service import Service
from blocks.sources.git_repository import GitRepository
from flows.guards.lock import locked
from tasks.effect import read_unanswered
from tasks.ledger import Run, current_run
from tasks.rotation import SUPPLY, Rotating, outwait_late_writes, supply_sinks
from tasks.traffic import TrafficBefore
from tests.blocks.ledger.approvals_key import VARIABLE, new_key
from tests.blocks.platforms.conftest import builds, daemon, repository, token
from tests.blocks.platforms.daemon import Daemon
from tests.blocks.sinks.vault import ROOT_TOKEN, running_vault
from tests.blocks.stores.faults import Fault, FaultProxy, running_proxy

__all__ = ["builds", "daemon", "repository", "token"]

OLD, NEW = {"URL": "old"}, {"URL": "hunter2"}


@pytest.fixture
def proxy(daemon: Daemon) -> Iterator[FaultProxy]:
    daemon.platform.set_variables(OLD)
    with running_proxy(daemon.platform.url) as proxy:
        yield proxy
    daemon.platform.set_variables({})


@pytest.fixture
def approvals_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, new_key())


@pytest.fixture
def rotating(run: Run, daemon: Daemon, proxy: FaultProxy, approvals_key: None) -> Iterator[Rotating]:
    platform = SandboxPlatform(url=proxy.endpoint, token=daemon.platform.token, timeout=0.5)
    with rotation(run, platform, {"type": "platform"}) as rotating:
        yield rotating


@contextmanager
def rotation(run: Run, platform: SandboxPlatform, sink: dict[str, Any]) -> Iterator[Rotating]:
    secret = {"type": "postgres-role", "variable": "URL", "roles": ["a", "b"], "rotate_url": "${X}"}
    environment = Environment(
        environment="shop",
        platform=platform,
        service=Service(url="http://127.0.0.1:1"),
        metrics=PrometheusEndpoint(),
        source=GitRepository(folder="unused"),
        secrets=Rotation.model_validate({"rotated": {"database": {**secret, "sinks": [sink]}}}),
    )
    with locked(environment):
        traffic = TrafficBefore(run_id=run.id, version="", split={}, known=[])
        rotating = Rotating(environment, run.id, {"database": OLD}, traffic)
        rotating.new = {"database": NEW}
        yield rotating


@pytest.mark.timeout(60)
def test_it_is_put_back_once_more(rotating: Rotating, proxy: FaultProxy, daemon: Daemon) -> None:
    proxy.faults.append(Fault("late", "PUT"))  # a second after it was asked
    with pytest.raises(Unreachable):
        supply_sinks.fn(rotating)
    assert daemon.platform.read_variables() == OLD

    outwait_late_writes.fn(rotating)

    puts = proxy.asked("PUT", "/variables")
    assert puts == 2, "it came late, and was taken back"
    assert daemon.platform.read_variables() == OLD


def test_only_what_nobody_answered_is_waited_for(rotating: Rotating, proxy: FaultProxy) -> None:
    outwait_late_writes.fn(rotating)  # nothing was sent
    supply_sinks.fn(rotating)
    assert read_unanswered(current_run().connection, rotating.run_id, SUPPLY) == []
    proxy.faults.append(Fault("lose answer", "PUT"))
    rotating.new = {"database": {"URL": "another"}}
    with pytest.raises(Unreachable):
        supply_sinks.fn(rotating)
    ((sent, ago),) = read_unanswered(current_run().connection, rotating.run_id, SUPPLY)
    assert (sent["secret"], ago >= 0) == ("database", True)


@pytest.mark.drill
@pytest.mark.timeout(200)
@pytest.mark.parametrize("patience", [10, 100])
def test_a_vault_that_does_it_after_a_minute(
    run: Run, daemon: Daemon, approvals_key: None, tmp_path: Path, patience: float
) -> None:
    """Whoever waits that long is told; whoever gave up took it back, and takes it back once more."""
    (tmp_path / "token").write_text(ROOT_TOKEN)
    with running_vault(tmp_path) as vault, running_proxy(vault.address) as proxy:
        vault.put("shop", **OLD)
        sink = {"type": "vault-kv", "address": proxy.endpoint, "token": f"file:{tmp_path}/token", "path": "shop"}
        proxy.faults.append(Fault("late", "POST", seconds=60))
        with rotation(run, daemon.platform, {**sink, "timeout": patience}) as rotating:
            if patience > 60:
                supply_sinks.fn(rotating)
                assert vault.get("shop")["data"] == NEW
                return
            with pytest.raises(Unreachable):
                supply_sinks.fn(rotating)
            outwait_late_writes.fn(rotating)
        assert vault.get("shop")["data"] == OLD
        assert vault.get("shop")["metadata"]["version"] == 3, "it came late, and was taken back"
