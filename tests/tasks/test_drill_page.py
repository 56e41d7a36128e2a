"""The report that people read: complete, by itself, and inert whatever stands in it."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from tasks.drill_page import html_page, markdown_page
from tasks.drill_report import DrillReport
from tests.tasks.drill_reports import FOUND, a_report

HOSTILE = '<script src="https://example.com/x.js"></script>![x](https://example.com/y.png)'


def test_everything_stands_on_it() -> None:
    earlier = a_report(verdict="failed", began_at=datetime(2026, 8, 21, 9, tzinfo=UTC))
    page = html_page(a_report(), [earlier])
    for text in ("recovery-test of shop-production", "20261121T020000Z-1a2b3c4d", "v1.2.0", FOUND, "nobody yet"):
        assert text in page
    for phase in ("provision", "restore", "verify data", "boot", "verify service", "clean up"):
        assert f">{phase}</text>" in page
    assert "2026-08-21 09:00" in page
    assert "This is the first." in html_page(a_report(), [])


def test_it_asks_for_nothing_from_anywhere() -> None:
    page = html_page(a_report(), [a_report()])
    assert not re.search(r"\b(?:src|href)\s*=|@import|url\(", page)
    assert "default-src 'none'" in page


@pytest.mark.parametrize("field", ["environment", "backup", "release", "requested_by", "isolation"])
def test_what_others_wrote_is_text(field: str) -> None:
    report = a_report(**{field: HOSTILE}, findings=[{"what": HOSTILE, "owner": HOSTILE}])
    assert "<script" not in html_page(report, [report])
    assert not re.search(r"(?<!\\)<script|(?<!\\)\]\(http", markdown_page(report))


@pytest.mark.parametrize(("allowed", "drawn"), [(12, True), (14_400, False)], ids=["inside", "far-away"])
def test_the_objective_is_drawn_where_it_is_or_an_arrow_points_to_it(allowed: float, drawn: bool) -> None:
    page = html_page(a_report(rto={"allowed_seconds": allowed, "measured_seconds": 9.5}), [])
    assert ('stroke-dasharray="5 4"' in page) is drawn
    assert ("→</text>" in page) is not drawn


def test_a_drill_that_never_began_has_its_page_too() -> None:
    nothing: dict[str, Any] = {"phases": [], "disaster_at": None, "before": None, "after": None, "backup": ""}
    report = a_report(verdict="could not run", rto={"allowed_seconds": 60}, rpo={"allowed_seconds": 60}, **nothing)
    assert "never came to it" in html_page(report, [])
    assert "could not run" in markdown_page(report)


def test_what_is_kept_is_read_again_as_it_was() -> None:
    report = a_report()
    assert DrillReport.model_validate_json(report.model_dump_json()) == report
