"""A sink that gives no value back, beside one that does: every secret in it is the old one, or proven to be the new."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from blocks.environment import Environment
from blocks.errors import SecretIsBad, SomebodyElseChangedIt, Unmet, Unreachable
from blocks.ledger.rotations import keep
from blocks.metrics.prometheus_endpoint import PrometheusEndpoint
from blocks.platforms.sandbox import SandboxPlatform
from blocks.rotation import Rotation
from blocks.service import Service
from blocks.sinks import github_actions
from blocks.sources.git_repository import GitRepository
from flows.guards.lock import locked
from tasks import write_only_sink
from tasks.ledger import Run
from tasks.rotation import Rotating, outwait_late_writes, reinstate_old, reopen_rotation, supply_sinks
from tasks.rotation_breach import Failures, prove_finished
from tasks.rotation_plan import read_marks
from tasks.traffic import TrafficBefore
from tests.blocks.ledger.approvals_key import VARIABLE, new_key
from tests.blocks.stores.faults import Fault, FaultProxy, running_proxy
from tests.standins.description import described
from tests.standins.github_actions import REPOSITORY, TOKEN, GithubStandIn, running_github

pytestmark = pytest.mark.timeout(60)

OLD, NEW, NAME = "old", "hunter2", "API_KEY"


@pytest.fixture(scope="module")
def github() -> Iterator[GithubStandIn]:
    with running_github(described("github")) as standing_in:
        yield standing_in


@pytest.fixture
def proxy(github: GithubStandIn) -> Iterator[FaultProxy]:
    github.repository.put(NAME, OLD)
    with running_proxy(github.url) as proxy:
        yield proxy
    github.forget()


@pytest.fixture
def rotating(run: Run, tmp_path: Path, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rotating]:
    """A file and a repository have to be given a new value."""
    monkeypatch.setenv(VARIABLE, new_key())
    environment = environment_with(tmp_path, proxy)
    with locked(environment):
        marks = {"job": read_marks(environment, environment.secrets.rotated["job"])}  # type: ignore[union-attr]
        traffic = TrafficBefore(run_id=run.id, version="", split={}, known=[])
        before = {"traffic": traffic.model_dump(), "emergency": False, "marks": marks, "versions": {}}
        keep(run.connection, run.id, "shop", before, {"job": {NAME: OLD}})
        rotating = reopened(environment, run)
        rotating.new = {"job": {NAME: NEW}}
        yield rotating


def environment_with(folder: Path, proxy: FaultProxy) -> Environment:
    (folder / "token").write_text(TOKEN)
    (folder / "job.env").write_text(f"{NAME}={OLD}\n")
    actions = {"type": "github-actions", "repository": REPOSITORY, "token": f"file:{folder}/token", "timeout": 2}
    sinks = [{**actions, "url": proxy.endpoint}, {"type": "env-file", "path": str(folder / "job.env")}]
    secret = {"type": "generated", "variable": NAME, "means": "nothing", "sinks": sinks}
    return Environment(
        environment="shop",
        platform=SandboxPlatform(url="http://127.0.0.1:1", token="${NOT_THERE}", timeout=1),
        service=Service(url="http://127.0.0.1:1"),
        metrics=PrometheusEndpoint(),
        source=GitRepository(folder="unused"),
        secrets=Rotation.model_validate({"rotated": {"job": secret}}),
    )


def reopened(environment: Environment, run: Run) -> Rotating:
    """As by whoever carries on after the death of the run: it knows no new value."""
    found = reopen_rotation(environment, run.id)
    assert found is not None
    return found


def again(rotating: Rotating, run: Run) -> Rotating:
    return reopened(rotating.environment, run)


def test_it_is_given_the_new_value_once_and_then_the_old(rotating: Rotating, github: GithubStandIn, run: Run) -> None:
    for _ in range(2):
        supply_sinks.fn(rotating)
    assert github.repository.written == [OLD, NEW]
    for _ in range(2):
        reinstate_old.fn(again(rotating, run))
    assert github.repository.written == [OLD, NEW, OLD]
    outwait_late_writes.fn(again(rotating, run))
    assert github.repository.written == [OLD, NEW, OLD], "all was answered"


def test_what_was_never_written_to_is_left_alone(rotating: Rotating, github: GithubStandIn, run: Run) -> None:
    reinstate_old.fn(again(rotating, run))
    assert github.repository.written == [OLD]


def test_one_that_takes_a_value_and_shows_no_write_is_found(
    rotating: Rotating, github: GithubStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_only_sink, "_CONFIRM_SECONDS", 1)
    github.forgetful = True
    with pytest.raises(SecretIsBad, match="took the value and does not show a write") as raised:
        supply_sinks.fn(rotating)
    assert NEW not in repr(raised.value)


def test_what_somebody_else_wrote_is_left_alone(rotating: Rotating, github: GithubStandIn, run: Run) -> None:
    supply_sinks.fn(rotating)
    github.repository.dates[NAME]["updated_at"] = "2999-01-01T00:00:00Z"
    with pytest.raises(SomebodyElseChangedIt, match="somebody else wrote to the Actions secrets of example/shop"):
        reinstate_old.fn(again(rotating, run))
    assert github.repository.written == [OLD, NEW]


def test_one_that_was_deleted_meanwhile_is_told(rotating: Rotating, github: GithubStandIn, run: Run) -> None:
    github.repository.remove(NAME)
    with pytest.raises(SomebodyElseChangedIt):
        reinstate_old.fn(again(rotating, run))
    with pytest.raises(Unmet, match="holds no API_KEY"):
        read_marks(rotating.environment, rotating.secrets["job"])


def test_a_write_that_nobody_answered_may_be_ours_and_is_taken_back(
    rotating: Rotating, github: GithubStandIn, proxy: FaultProxy, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(github_actions, "_LATE_SECONDS", 0)
    proxy.faults.append(Fault("lose answer", "PUT"))
    with pytest.raises(Unreachable):
        supply_sinks.fn(rotating)
    assert github.repository.values == {NAME: NEW}
    reinstate_old.fn(again(rotating, run))
    assert github.repository.values == {NAME: OLD}


def test_one_that_comes_late_is_taken_back_once_more(
    rotating: Rotating, github: GithubStandIn, proxy: FaultProxy, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it comes in the very second of the last write, which no mark tells."""
    monkeypatch.setattr(github_actions, "_LATE_SECONDS", 8)
    proxy.faults.append(Fault("late", "PUT", seconds=4))
    with pytest.raises(Unreachable):
        supply_sinks.fn(rotating)
    afterwards = again(rotating, run)
    reinstate_old.fn(afterwards)
    assert github.repository.written == [OLD], "it did not come yet"
    outwait_late_writes.fn(afterwards)
    assert github.repository.written == [OLD, NEW, OLD, OLD]


def test_after_a_breach_it_is_told_what_it_was_given_last(
    rotating: Rotating, github: GithubStandIn, proxy: FaultProxy
) -> None:
    failures = Failures()
    failures.reasons.append("The release did not start.")
    supply_sinks.fn(rotating)
    with pytest.raises(SecretIsBad, match=f"{REPOSITORY} at {proxy.endpoint} was given the new one last"):
        prove_finished.fn(rotating, failures)
    github.repository.dates[NAME]["updated_at"] = "2999-01-01T00:00:00Z"
    with pytest.raises(SecretIsBad, match="nor is it known what it was given last"):
        prove_finished.fn(rotating, failures)


def test_a_secret_without_a_sink_that_can_be_read_is_refused() -> None:
    actions: dict[str, Any] = {"type": "github-actions", "repository": REPOSITORY, "token": "${TOKEN}"}
    secret = {"type": "generated", "variable": NAME, "means": "nothing", "sinks": [actions]}
    with pytest.raises(ValidationError, match="names no sink that gives the value back"):
        Rotation.model_validate({"rotated": {"job": secret}})


def test_no_value_is_in_the_trail(rotating: Rotating, run: Run) -> None:
    supply_sinks.fn(rotating)
    reinstate_old.fn(rotating)
    rows = run.connection.execute("SELECT detail::text AS detail FROM audit").fetchall()
    assert "supply sink" in str(rows)
    assert not any(secret in str(rows) for secret in (NEW, TOKEN))
