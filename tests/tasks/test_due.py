"""What the objectives ask for at a given moment."""

from datetime import UTC, datetime, timedelta

import pytest

from blocks.backups import Backups
from tasks.due import look_what_is_due
from tests.tasks.catalogues import catalogue, made_at

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
POLICY = Backups(rpo_minutes=60, proof_days=7)


def minutes_ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def test_without_a_backup_one_is_due() -> None:
    due = look_what_is_due(catalogue(), POLICY, NOW)
    assert due.backup
    assert due.reasons == ["There is no backup yet."]


@pytest.mark.parametrize(
    ("age", "seconds", "is_due"),
    [(10, 60, False), (53, 60, False), (54, 60, True), (44, 600, False), (45, 600, True), (300, 60, True)],
)
def test_a_backup_is_due_before_it_is_too_old(age: float, seconds: float, is_due: bool) -> None:
    """The next look is in five minutes, and making one takes its time."""
    due = look_what_is_due(catalogue(made_at(minutes_ago(age), proven=True, seconds=seconds)), POLICY, NOW)
    assert due.backup is is_due


def test_an_objective_that_is_broken_is_said() -> None:
    due = look_what_is_due(catalogue(made_at(minutes_ago(90), proven=True)), POLICY, NOW)
    assert due.broken == ["RPO: the newest backup is 90 minutes old; 60 minutes are allowed."]


def test_an_objective_that_cannot_be_kept_is_said_with_the_measured_time() -> None:
    due = look_what_is_due(catalogue(made_at(minutes_ago(1), proven=True, seconds=3500)), POLICY, NOW)
    assert "60 minutes cannot be kept in this way: a backup takes 58 minutes" in due.broken[0]


def test_a_backup_of_the_schema_counts_for_nothing() -> None:
    assert look_what_is_due(catalogue(made_at(minutes_ago(1), kind="schema-only")), POLICY, NOW).backup


def test_the_newest_is_proven_when_the_proven_one_grows_old() -> None:
    newest = made_at(minutes_ago(1))
    young = look_what_is_due(catalogue(made_at(NOW - timedelta(days=5), proven=True), newest), POLICY, NOW)
    assert (young.proof, young.broken) == ("", [])
    old = look_what_is_due(catalogue(made_at(NOW - timedelta(days=6.9), proven=True), newest), POLICY, NOW)
    assert (old.proof, old.broken) == (newest.id, [])
    broken = look_what_is_due(catalogue(made_at(NOW - timedelta(days=9), proven=True), newest), POLICY, NOW)
    assert broken.proof == newest.id
    assert broken.broken == ["Proof: the newest proven backup is 9.0 days old; 7.0 days are allowed."]


def test_a_backup_that_failed_its_proof_is_not_tried_again_and_the_promise_stays_broken() -> None:
    due = look_what_is_due(catalogue(made_at(minutes_ago(1), tried=True)), POLICY, NOW)
    assert (due.proof, due.broken) == ("", ["Proof: no backup is proven."])


def test_a_backup_of_a_time_yet_to_come_keeps_none_from_being_made() -> None:
    ahead, present = made_at(NOW + timedelta(days=365), proven=True), made_at(minutes_ago(1))
    alone = look_what_is_due(catalogue(ahead), POLICY, NOW)
    assert (alone.backup, alone.reasons) == (True, ["There is no backup yet."])
    beside = look_what_is_due(catalogue(ahead, present), POLICY, NOW)
    assert (beside.backup, beside.proof) == (False, present.id)
    assert f"Clock: backup {ahead.id} is of a time yet to come" in beside.broken[0]


def test_clocks_that_differ_a_little_start_nothing_anew() -> None:
    due = look_what_is_due(catalogue(made_at(NOW + timedelta(minutes=2), proven=True)), POLICY, NOW)
    assert (due.backup, due.broken) == (False, [])
