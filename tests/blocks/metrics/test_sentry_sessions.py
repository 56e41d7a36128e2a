"""Against a stand-in that is held against Sentry's published description, in both directions."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from blocks.errors import Unreachable
from blocks.metrics.sentry_sessions import SentrySessions
from blocks.platforms.interface import Release
from tests.standins.description import described
from tests.standins.sentry import ORGANIZATION, PROJECT, TOKEN, SentryStandIn
from tests.standins.standing_in import served
from tests.tasks.small_service import SmallService, status


@pytest.fixture
def sentry(monkeypatch: pytest.MonkeyPatch) -> Iterator[SentryStandIn]:
    monkeypatch.setenv("SENTRY_TOKEN", TOKEN)
    with served(standing_in := SentryStandIn(described("sentry"))):
        yield standing_in
    assert standing_in.violations == []


def metrics(url: str, **differs: object) -> SentrySessions:
    fields = {"organization": ORGANIZATION, "project": PROJECT, "token": "${SENTRY_TOKEN}", "url": url, "timeout": 5}
    return SentrySessions.model_validate({**fields, "release": "shop@{version}", **differs})


def release(hours: float = 1) -> Release:
    return Release(
        id="dpl_1",
        version="v1.1.0",
        commit="c0ffee",
        state="running",
        url=None,
        replicas=1,
        started_by="",
        created_at=datetime.now(UTC) - timedelta(hours=hours),
    )


def test_a_release_is_its_sessions_in_its_environment(sentry: SentryStandIn) -> None:
    sentry.sessions["shop@v1.1.0", "production", "healthy"] = 90
    sentry.sessions["shop@v1.1.0", "production", "errored"] = 7
    sentry.sessions["shop@v1.1.0", "production", "crashed"] = 3
    sentry.sessions["shop@v1.1.0", "staging", "crashed"] = 50
    sentry.sessions["shop@v1.0.0", "production", "crashed"] = 50
    sample = metrics(sentry.url).read_sample(release())
    assert (sample.requests, sample.errors, sample.slower) == (100, 3, {})
    assert metrics(sentry.url, sentry_environment="staging").read_sample(release()).requests == 50


def test_an_old_release_is_asked_for_by_days(sentry: SentryStandIn) -> None:
    """An answer holds no more than so many points."""
    sentry.sessions["c0ffee", "production", "healthy"] = 1
    for hours in (1, 24 * 100):
        assert metrics(sentry.url, release="{commit}").read_sample(release(hours)).requests == 1
    assert [sent.query["interval"] for sent in sentry.asked] == ["1h", "1d"]


def test_no_data_is_not_zero(sentry: SentryStandIn) -> None:
    sentry.sessions["shop@v1.1.0", "staging", "healthy"] = 5
    with pytest.raises(Unreachable, match=r"no session of release shop@v1\.1\.0 in production") as raised:
        metrics(sentry.url).read_sample(release())
    assert raised.value.hint
    sentry.sessions["shop@v1.1.0", "production", "healthy"] = 0
    with pytest.raises(Unreachable, match="no session of release"):
        metrics(sentry.url).read_sample(release())


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        ([{"by": {}, "totals": {"sum(session)": 5}, "series": {}}], "without a status"),
        ([{"by": {"session.status": "healthy"}, "totals": {"sum(session)": -5}, "series": {}}], "is not Sentry"),
        ([{"by": {"session.status": "healthy"}, "totals": {"sum(session)": None}, "series": {}}], "no session"),
        ("none", "is not Sentry"),
    ],
)
def test_an_answer_that_says_nothing_is_not_zero(groups: object, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTRY_TOKEN", TOKEN)
    path, answer = f"/api/0/organizations/{ORGANIZATION}/sessions/", status(200, {"groups": groups})
    with SmallService({f"GET {path}": answer}) as service, pytest.raises(Unreachable, match=told):
        metrics(service.url).read_sample(release())


def test_a_refusal_names_what_is_missing_and_no_token(sentry: SentryStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENTRY_TOKEN", "not-that-one")
    with pytest.raises(Unreachable, match="Sentry refused: Invalid token") as raised:
        metrics(sentry.url).read_sample(release())
    assert "org:read" in raised.value.hint
    assert "not-that-one" not in repr(raised.value)


@pytest.mark.parametrize("name", ["shop", "{version}{url}", '{version}" OR release:"x'])
def test_a_release_has_a_name_of_its_own(name: str) -> None:
    with pytest.raises(ValidationError):
        metrics("http://127.0.0.1:1", release=name)
