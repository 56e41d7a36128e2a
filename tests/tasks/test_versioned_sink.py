"""A sink that keeps every value: the old ones can be asked for until they are refused, and again after a way back."""

from collections.abc import Iterator

import pytest

from blocks.environment import Environment
from blocks.errors import RefusedBySink, Unreachable
from blocks.ledger.rotations import keep
from blocks.metrics.prometheus_endpoint import PrometheusEndpoint
from blocks.platforms.sandbox import SandboxPlatform
from blocks.rotation import Rotation
from blocks.service import Service
from blocks.sinks import google_secret_manager
from blocks.sources.git_repository import GitRepository
from flows.guards.lock import locked
from tasks.ledger import Run
from tasks.rotation import (
    Rotating,
    disable_old_versions,
    outwait_late_writes,
    reinstate_old,
    reopen_rotation,
    supply_sinks,
)
from tasks.rotation_breach import Failures, disable_leaked
from tasks.traffic import TrafficBefore
from tasks.versioned_sink import read_versions
from tests.blocks.ledger.approvals_key import VARIABLE, new_key
from tests.blocks.stores.faults import Fault, FaultProxy, running_proxy
from tests.standins.discovery import discovered
from tests.standins.google_token import TOKEN_MARK, GoogleTokens, running_google_tokens
from tests.standins.secret_manager import PREFIX, PROJECT, Kept, SecretManagerStandIn, running_secret_manager

pytestmark = pytest.mark.timeout(60)

OLD, NEW, NAME = "old", "hunter2", "API_KEY"


@pytest.fixture(scope="module")
def tokens() -> Iterator[GoogleTokens]:
    with running_google_tokens() as tokens:
        yield tokens


@pytest.fixture(scope="module")
def google(tokens: GoogleTokens) -> Iterator[SecretManagerStandIn]:
    with running_secret_manager(tokens, discovered("google-secretmanager-v1")) as standing_in:
        yield standing_in


@pytest.fixture
def kept(google: SecretManagerStandIn) -> Iterator[Kept]:
    """Three versions, of which somebody has disabled the second."""
    google.make(NAME)
    kept = google.secrets[f"{PREFIX}{NAME}"]
    kept.versions, kept.disabled = [b"older", b"withdrawn", OLD.encode()], {2}
    yield kept
    google.forget()


@pytest.fixture
def proxy(google: SecretManagerStandIn) -> Iterator[FaultProxy]:
    with running_proxy(google.url) as proxy:
        yield proxy


@pytest.fixture
def rotating(
    run: Run, tokens: GoogleTokens, kept: Kept, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Rotating]:
    monkeypatch.setenv(VARIABLE, new_key())
    monkeypatch.setenv("GOOGLE_KEY", tokens.key())
    environment = environment_with(proxy)
    with locked(environment):
        versions = {"job": read_versions(environment, environment.secrets.rotated["job"])}  # type: ignore[union-attr]
        traffic = TrafficBefore(run_id=run.id, version="", split={}, known=[])
        before = {"traffic": traffic.model_dump(), "emergency": False, "marks": {}, "versions": versions}
        keep(run.connection, run.id, "shop", before, {"job": {NAME: OLD}})
        rotating = again(environment, run)
        rotating.new = {"job": {NAME: NEW}}
        yield rotating


def environment_with(proxy: FaultProxy) -> Environment:
    sink = {"type": "google-secret-manager", "project": PROJECT, "prefix": PREFIX, "credentials": "${GOOGLE_KEY}"}
    sinks = [{**sink, "url": proxy.endpoint, "timeout": 2}]
    secret = {"type": "generated", "variable": NAME, "means": "nothing", "sinks": sinks}
    return Environment(
        environment="shop",
        platform=SandboxPlatform(url="http://127.0.0.1:1", token="${NOT_THERE}", timeout=1),
        service=Service(url="http://127.0.0.1:1"),
        metrics=PrometheusEndpoint(),
        source=GitRepository(folder="unused"),
        secrets=Rotation.model_validate({"rotated": {"job": secret}}),
    )


def again(environment: Environment, run: Run) -> Rotating:
    """As by whoever carries on after the death of the run: it knows no new value."""
    found = reopen_rotation(environment, run.id)
    assert found is not None
    return found


def test_they_are_disabled_once_and_enabled_once(rotating: Rotating, kept: Kept, run: Run) -> None:
    for _ in range(2):
        supply_sinks.fn(rotating)
        disable_old_versions.fn(rotating)
    assert kept.changes == ["add 4", "disable 1", "disable 3"]
    for _ in range(2):
        reinstate_old.fn(again(rotating.environment, run))
    assert kept.changes == ["add 4", "disable 1", "disable 3", "add 5", "enable 1", "enable 3"]
    assert (kept.disabled, kept.versions[-1]) == ({2}, OLD.encode()), "what somebody else disabled stays so"
    outwait_late_writes.fn(again(rotating.environment, run))
    assert len(kept.changes) == 6, "all was answered"


def test_what_the_sink_holds_is_never_disabled(rotating: Rotating, kept: Kept) -> None:
    """Also where it was given nothing."""
    disable_old_versions.fn(rotating)
    assert kept.changes == ["disable 1"]


def test_one_that_came_meanwhile_is_left_alone(rotating: Rotating, kept: Kept) -> None:
    kept.versions.append(b"of somebody else")
    supply_sinks.fn(rotating)
    disable_old_versions.fn(rotating)
    assert kept.enabled() == [4, 5]


@pytest.mark.parametrize("values", [f"{NEW},{OLD}", OLD])
def test_as_long_as_the_old_one_is_accepted_its_versions_can_be_asked_for(
    rotating: Rotating, kept: Kept, values: str
) -> None:
    """Of a key that is verified still, and of one that is made known before it is used."""
    key = {"type": "signing-key", "variable": NAME, "token_hours": 1, "report": {"path": "/", "member": "keys"}}
    rotated = Rotation.model_validate(
        {"rotated": {"job": {**key, "sinks": [one.model_dump() for one in rotating.secrets["job"].sinks]}}}
    )
    rotating.secrets = dict(rotated.rotated)
    rotating.new = {"job": {NAME: values}}
    disable_old_versions.fn(rotating)
    assert kept.changes == []


def test_one_whose_disabling_nobody_answered_is_enabled(
    rotating: Rotating, kept: Kept, proxy: FaultProxy, run: Run
) -> None:
    supply_sinks.fn(rotating)
    proxy.faults.append(Fault("lose answer", "POST"))
    with pytest.raises(Unreachable):
        disable_old_versions.fn(rotating)
    assert kept.changes == ["add 4", "disable 1"]
    reinstate_old.fn(again(rotating.environment, run))
    assert kept.enabled() == [1, 3, 4, 5]


def test_one_that_is_disabled_late_is_enabled_once_more(
    rotating: Rotating, kept: Kept, proxy: FaultProxy, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(google_secret_manager, "_LATE_SECONDS", 6)
    supply_sinks.fn(rotating)
    proxy.faults.append(Fault("late", "POST", seconds=4))
    with pytest.raises(Unreachable):
        disable_old_versions.fn(rotating)
    reinstate_old.fn(again(rotating.environment, run))
    assert "disable 1" not in kept.changes, "it did not come yet"
    outwait_late_writes.fn(again(rotating.environment, run))
    assert "disable 1" in kept.changes
    assert kept.enabled() == [1, 3, 4, 5]


def test_where_one_cannot_be_disabled_the_others_are_enabled_again(
    rotating: Rotating, google: SecretManagerStandIn, kept: Kept, run: Run
) -> None:
    google.kept_enabled = {3}
    supply_sinks.fn(rotating)
    with pytest.raises(RefusedBySink, match="denied"):
        disable_old_versions.fn(rotating)
    assert kept.enabled() == [3, 4]
    reinstate_old.fn(again(rotating.environment, run))
    assert kept.enabled() == [1, 3, 4, 5]


def test_after_a_breach_what_cannot_be_disabled_is_told_and_the_rest_goes_on(
    rotating: Rotating, google: SecretManagerStandIn, kept: Kept
) -> None:
    google.kept_enabled = {1}
    supply_sinks.fn(rotating)
    failures = Failures()
    disable_leaked.fn(rotating, failures)
    (reason,) = failures.reasons
    assert "secretmanager.versions.disable" in reason


def test_no_value_is_in_the_trail(rotating: Rotating, run: Run) -> None:
    supply_sinks.fn(rotating)
    disable_old_versions.fn(rotating)
    rows = str(run.connection.execute("SELECT detail::text AS detail FROM audit").fetchall())
    assert "disable versions" in rows
    assert not any(secret in rows for secret in (NEW, TOKEN_MARK))
