"""A drill of a smaller backup tells what the newest would take, and no other drill does."""

from typing import Any

import pytest

from blocks.manifest import Manifest
from tasks.drill_estimate import estimate_for_newest
from tasks.drill_page import html_page, markdown_page
from tasks.drill_report import Phase
from tests.tasks.drill_reports import a_report

NEWEST = "20261121T030000Z-5e6f7a8b"
ESTIMATE = {"backup": NEWEST, "times_as_large": 4, "seconds": 24.5}


def manifest(content_bytes: int) -> Manifest:
    content: dict[str, Any] = {"id": NEWEST, "content_bytes": content_bytes}
    return Manifest.model_construct(**content)


def phases(*names: str) -> list[Phase]:
    """Two seconds each; what counts, and then what does not."""
    counted = [Phase(name=name, began=0, seconds=2, counts=True) for name in names]
    return [*counted, Phase(name="restore", began=0, seconds=100), Phase(name="clean up", began=0, seconds=100)]


def test_restoring_and_reading_grow_with_the_content_and_nothing_else_does() -> None:
    recovery = phases("provision", "restore", "verify data", "boot", "verify service")
    estimate = estimate_for_newest(recovery, manifest(100), manifest(400))
    assert estimate
    assert (estimate.backup, estimate.times_as_large, estimate.seconds) == (NEWEST, 4, 2 * (3 + 2 * 4))


@pytest.mark.parametrize(("drilled", "newest"), [(100, 100), (400, 100), (100, 109), (0, 100)])
def test_about_as_large_or_nothing_to_go_by_tells_nothing(drilled: int, newest: int) -> None:
    assert estimate_for_newest(phases("restore"), manifest(drilled), manifest(newest)) is None


def test_an_outage_does_not_depend_on_the_size() -> None:
    assert estimate_for_newest(phases("detect", "put back", "verify service"), manifest(100), manifest(400)) is None


@pytest.mark.parametrize(("allowed", "late"), [(5, True), (60, False)])
def test_both_pages_tell_it_and_whether_it_would_be_too_late(allowed: float, late: bool) -> None:
    report = a_report(estimate=ESTIMATE, rto={"allowed_seconds": allowed, "measured_seconds": 9.5})
    for page in (html_page(report, []), markdown_page(report)):
        told = page.replace("\\", "")
        assert f"about 24.5 s with {NEWEST}, the newest backup, 4 times as large as what was restored" in told
        assert ("as what was restored; 5.0 s are allowed" in told) is late
    assert "the newest backup," not in html_page(a_report(), [])
