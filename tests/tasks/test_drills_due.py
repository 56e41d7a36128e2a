"""When a drill has to be held."""

from datetime import UTC, datetime, timedelta

import pytest

from blocks.drills import Drills
from tasks.drill_evidence import ENDED
from tasks.drills_due import read_last_kept, why_due
from tasks.ledger import Run

NOW = datetime(2026, 11, 21, 6, tzinfo=UTC)


@pytest.mark.parametrize(("days", "is_due"), [(0, False), (90.9, False), (91, True), (200, True)])
def test_one_is_due_before_the_last_good_one_is_too_old(days: float, is_due: bool) -> None:
    """The next look is a day later."""
    assert bool(why_due(Drills(), NOW - timedelta(days=days), NOW)) is is_due


def test_a_short_limit_is_not_due_all_the_time() -> None:
    assert why_due(Drills(max_age_days=1), NOW - timedelta(hours=17), NOW) == ""
    assert why_due(Drills(max_age_days=1), NOW - timedelta(hours=18), NOW) == (
        "The newest drill that kept its objectives is 18.0 hours old; 24.0 hours are allowed."
    )


def test_one_is_due_where_none_has_passed_yet() -> None:
    assert why_due(Drills(), None, NOW) == "No drill has kept its objectives yet."


def test_only_one_that_kept_its_objectives_counts(run: Run) -> None:
    assert read_last_kept(run.connection, "shop") is None
    for verdict in ("failed", "broken", "could not run"):
        run.record(ENDED, verdict=verdict)
    assert read_last_kept(run.connection, "shop") is None
    run.record(ENDED, verdict="kept")
    kept = read_last_kept(run.connection, "shop")
    assert kept
    assert timedelta() <= datetime.now(UTC) - kept < timedelta(minutes=1)
    assert read_last_kept(run.connection, "shop-other") is None
