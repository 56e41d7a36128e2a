"""Against a stand-in that is held against Google's description of Cloud Monitoring, in both directions."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from blocks.errors import Unreachable
from blocks.metrics.cloud_monitoring import CloudMonitoring
from blocks.platforms.interface import Release
from tests.standins.cloud_monitoring import (
    PROJECT,
    REGION,
    SERVICE,
    CloudMonitoringStandIn,
    running_cloud_monitoring,
)
from tests.standins.discovery import discovered
from tests.standins.google_token import TOKEN_MARK, GoogleTokens, running_google_tokens

MINUTE = timedelta(minutes=1)
DELAY = 240
REVISION = "shop-00002-abc"


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleTokens]:
    with running_google_tokens() as tokens:
        monkeypatch.setenv("GOOGLE_KEY", tokens.key())
        yield tokens


@pytest.fixture
def google(tokens: GoogleTokens) -> Iterator[CloudMonitoringStandIn]:
    with running_cloud_monitoring(tokens, discovered("google-monitoring-v3")) as google:
        yield google


@pytest.fixture
def metrics(google: CloudMonitoringStandIn) -> CloudMonitoring:
    return CloudMonitoring(
        project=PROJECT,
        region=REGION,
        service=SERVICE,
        credentials="${GOOGLE_KEY}",
        delay_seconds=DELAY,
        url=google.url,
        timeout=5,
    )


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


def release(created_at: datetime, id: str = REVISION) -> Release:
    return Release(
        id=id,
        version="v1.1.0",
        commit="c0ffee",
        state="running",
        url=None,
        replicas=1,
        started_by="",
        created_at=created_at,
    )


def test_a_release_is_what_its_revision_counted_since_it_was_made(
    google: CloudMonitoringStandIn, metrics: CloudMonitoring, now: datetime
) -> None:
    google.count(REVISION, now - 20 * MINUTE, "2xx", [3.0, 30.0, 9000.0])
    google.count(REVISION, now - 10 * MINUTE, "2xx", [1.0])
    google.count(REVISION, now - 10 * MINUTE, "4xx", [1.0])
    google.count(REVISION, now - 10 * MINUTE, "5xx", [300.0, 300.0])
    google.count("shop-00001-old", now - 10 * MINUTE, "5xx", [1.0] * 50)
    google.count(REVISION, now - 90 * MINUTE, "5xx", [1.0] * 50)

    sample = metrics.read_sample(release(now - 30 * MINUTE))
    assert (sample.requests, sample.errors) == (7, 2)
    assert len(sample.slower) == 13
    assert (sample.slower[0.004], sample.slower[0.256], sample.slower[0.512], sample.slower[4.096]) == (4, 3, 1, 1)
    assert metrics.read_sample(release(now - 30 * MINUTE, f"projects/p/revisions/{REVISION}")).requests == 7


def test_without_errors_there_are_none(google: CloudMonitoringStandIn, metrics: CloudMonitoring, now: datetime) -> None:
    google.count(REVISION, now - 10 * MINUTE, "2xx", [3.0])
    sample = metrics.read_sample(release(now - 30 * MINUTE))
    assert (sample.requests, sample.errors, sample.slower[4.096]) == (1, 0, 0)


def test_what_may_not_be_complete_yet_is_not_read(
    google: CloudMonitoringStandIn, metrics: CloudMonitoring, now: datetime
) -> None:
    """Two metrics, and two revisions, that are shown at different moments, are read up to the same one."""
    google.count(REVISION, now - 10 * MINUTE, "2xx", [3.0])
    google.count(REVISION, now - timedelta(seconds=DELAY - 20), "5xx", [3.0])
    assert metrics.read_sample(release(now - 30 * MINUTE)).requests == 1
    assert metrics.late_seconds == DELAY + 120


@pytest.mark.parametrize("forgotten", ["request_count", "request_latencies"])
def test_no_data_is_not_zero(
    google: CloudMonitoringStandIn, metrics: CloudMonitoring, now: datetime, forgotten: str
) -> None:
    google.count(REVISION, now - 10 * MINUTE, "2xx", [3.0])
    google.forget(forgotten)
    with pytest.raises(Unreachable, match=f"has no {forgotten} of {REVISION}") as raised:
        metrics.read_sample(release(now - 30 * MINUTE))
    assert raised.value.hint


def test_of_a_release_that_is_too_young_nothing_is_asked(
    google: CloudMonitoringStandIn, metrics: CloudMonitoring, now: datetime
) -> None:
    with pytest.raises(Unreachable, match="shows nothing of shop-00002-abc yet"):
        metrics.read_sample(release(now - 2 * MINUTE))
    assert google.asked == []


@pytest.mark.parametrize(
    "partial",
    [
        {"nextPageToken": "more"},
        {"unreachable": ["europe-west1"]},
        {"executionErrors": [{"code": 4, "message": "too late"}]},
    ],
    ids=lambda partial: next(iter(partial)),
)
def test_part_of_the_data_is_not_zero(
    google: CloudMonitoringStandIn, metrics: CloudMonitoring, now: datetime, partial: dict[str, Any]
) -> None:
    google.count(REVISION, now - 10 * MINUTE, "2xx", [3.0])
    google.partial = partial
    with pytest.raises(Unreachable, match="only in part"):
        metrics.read_sample(release(now - 30 * MINUTE))


def test_requests_without_a_class_are_no_answers(
    google: CloudMonitoringStandIn, metrics: CloudMonitoring, now: datetime
) -> None:
    google.count(REVISION, now - 10 * MINUTE, "", [3.0])
    with pytest.raises(Unreachable, match="without response_code_class"):
        metrics.read_sample(release(now - 30 * MINUTE))


def test_a_refusal_names_the_role_and_no_token(
    google: CloudMonitoringStandIn, metrics: CloudMonitoring, now: datetime, tokens: GoogleTokens
) -> None:
    tokens.lets_in = lambda authorization: False  # type: ignore[method-assign]
    with pytest.raises(Unreachable, match="Cloud Monitoring refused: no access") as raised:
        metrics.read_sample(release(now - 30 * MINUTE))
    assert "roles/monitoring.viewer" in raised.value.hint
    assert TOKEN_MARK not in repr(raised.value)


def test_an_api_that_fails_is_not_measured(
    google: CloudMonitoringStandIn, metrics: CloudMonitoring, now: datetime
) -> None:
    google.trouble = ["fails"]
    with pytest.raises(Unreachable, match="failed with status 500"):
        metrics.read_sample(release(now - 30 * MINUTE))
