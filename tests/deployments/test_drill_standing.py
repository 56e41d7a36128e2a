"""Who is ready, as the trail tells it."""

from collections.abc import Iterator
from typing import Any

import pytest

from deployments.drill_standing import DrillStanding, read_drill_standing
from tasks.drill_evidence import BEGAN, ENDED
from tasks.ledger import Run, run_record
from tests.ledger_database import LedgerDatabase

DRILLED: dict[str, Any] = {"drills": {"max_age_days": 92}}


@pytest.fixture
def run(ledger: LedgerDatabase) -> Iterator[Run]:
    with ledger.connect("run-1") as connection:
        run = Run(id="run-1", procedure="dr-drill", environment="shop", requested_by="Ada", connection=connection)
        with run_record(run, {}):
            yield run


def look(run: Run, data: dict[str, Any] = DRILLED) -> DrillStanding:
    return read_drill_standing(run.connection, "shop", data)


def end(run: Run) -> None:
    run.connection.execute("UPDATE run SET ending = 'Refused' WHERE id = %s", [run.id])


def test_one_that_was_never_drilled_is_not_ready_only_where_it_is_asked_for(run: Run) -> None:
    assert look(run, {}) == DrillStanding(drills="never", not_ready=[], overdue=[])
    assert look(run).drills == "never"
    assert look(run).not_ready == ["it was never drilled; `backstop run dr-drill` does it"]


@pytest.mark.parametrize("verdict", ["broken", "failed", "could not run"])
def test_one_whose_last_drill_did_not_pass_is_not_ready_until_one_passes(run: Run, verdict: str) -> None:
    run.record(ENDED, verdict="kept", scenario="recovery-test", told="fine")
    assert look(run).not_ready == []
    run.record(ENDED, verdict=verdict, scenario="database-loss", told="the reason")
    for data in ({}, DRILLED):
        assert look(run, data).not_ready == [f"its last drill {verdict}: the reason"]
    run.record(ENDED, verdict="kept", scenario="service-outage", told="fine")
    assert look(run).not_ready == [f"its last drill {verdict}: the reason"], "another scenario shows nothing about it"
    run.record(ENDED, verdict="kept", scenario="database-loss", told="fine")
    assert look(run) == DrillStanding(drills="last kept 0.0 days ago (database-loss)", not_ready=[], overdue=[])


def test_one_that_goes_on_has_no_say_and_one_that_was_interrupted_has(run: Run) -> None:
    run.record(ENDED, verdict="kept", scenario="recovery-test", told="fine")
    run.record(BEGAN, scenario="database-loss")
    assert look(run).not_ready == []
    end(run)
    assert look(run).not_ready == ["its last drill (database-loss, run run-1) was interrupted"]


def test_a_good_one_that_is_too_old_is_a_broken_objective(run: Run) -> None:
    run.record(ENDED, verdict="kept", scenario="recovery-test", told="fine")
    assert look(run, {"drills": {"max_age_days": 0}}).overdue == ["drill: 0.0 days ago; 0 days are allowed"]
    assert look(run, {}).overdue == []
