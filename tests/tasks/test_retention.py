"""Which backups are kept: a series for days, weeks and months, and what must never go."""

from datetime import UTC, datetime, timedelta

import pytest

from blocks.backups import Backups
from tasks.retention import Fate, choose
from tests.tasks.catalogues import catalogue, made_at

NOW = datetime(2026, 11, 21, 2, tzinfo=UTC)
YEARLY = [made_at(NOW - timedelta(days=days), proven=days % 7 == 3) for days in range(400)]


def policy(**fields: int) -> Backups:
    return Backups(**{"keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0, **fields})


def kept(fates: list[Fate]) -> list[str]:
    """Days of the kept ones, newest first."""
    return [f"{fate.taken_at:%m-%d}" for fate in reversed(fates) if fate.kept_as]


def test_the_default_keeps_seven_days_four_weeks_twelve_months() -> None:
    fates = choose(catalogue(*YEARLY), Backups())
    reasons = [reason for fate in fates for reason in fate.kept_as]
    assert {name: reasons.count(name) for name in ("daily", "weekly", "monthly")} == {
        "daily": 7,
        "weekly": 4,
        "monthly": 12,
    }
    assert kept(fates)[:7] == ["11-21", "11-20", "11-19", "11-18", "11-17", "11-16", "11-15"]
    assert "10-31" in kept(fates)
    assert len(kept(fates)) < 7 + 4 + 12


def test_only_what_is_kept_for_its_month_alone_goes_cold() -> None:
    cold = [fate for fate in choose(catalogue(*YEARLY), Backups()) if fate.goes_cold]
    assert cold
    assert all(fate.kept_as == ["monthly"] for fate in cold)


def test_every_backup_of_so_many_days() -> None:
    assert len(kept(choose(catalogue(*YEARLY), policy(keep_days=30)))) == 30


def test_the_newest_and_the_newest_proven_never_go() -> None:
    old = made_at(NOW - timedelta(days=300), proven=True)
    fates = choose(catalogue(old, *(made_at(NOW - timedelta(days=days)) for days in range(20))), policy(keep_daily=2))
    assert kept(fates) == ["11-21", "11-20", f"{old.manifest.taken_at:%m-%d}"]
    assert fates[0].kept_as == ["newest proven"]


def test_a_backup_that_failed_its_newest_proof_is_not_the_proven_one() -> None:
    proven, failed = made_at(NOW - timedelta(days=9), proven=True), made_at(NOW - timedelta(days=8), tried=True)
    fates = choose(catalogue(proven, failed, made_at(NOW)), policy(keep_daily=1))
    assert [fate.kept_as for fate in fates] == [["newest proven"], [], ["daily", "newest"]]


def test_what_the_store_holds_stays() -> None:
    held = YEARLY[100]
    fates = choose(catalogue(*YEARLY), policy(keep_daily=1), lambda one: "legal hold" if one.id == held.id else "")
    assert {fate.backup: fate.kept_as for fate in fates}[held.id] == ["legal hold"]


@pytest.mark.parametrize("gap", [timedelta(days=90), timedelta(days=20_000)], ids=["a gap", "a clock far ahead"])
def test_days_without_backups_make_nothing_go(gap: timedelta) -> None:
    """Seven days are the last seven that have a backup, wherever the clock stands."""
    before = [made_at(NOW - gap - timedelta(days=days)) for days in range(6)]
    assert len(kept(choose(catalogue(made_at(NOW), *before), policy(keep_daily=7)))) == 7


def test_schema_only_backups_are_a_series_of_their_own() -> None:
    full = [made_at(NOW - timedelta(days=days)) for days in range(3)]
    schema = [made_at(NOW - timedelta(days=days, hours=-1), kind="schema-only") for days in range(3)]
    fates = choose(catalogue(*full, *schema), policy(keep_daily=1))
    assert {fate.backup for fate in fates if fate.kept_as} == {full[0].id, schema[0].id}


def test_of_one_day_the_last_is_kept() -> None:
    morning, evening = made_at(NOW), made_at(NOW + timedelta(hours=18))
    fates = choose(catalogue(morning, evening), policy(keep_daily=5))
    assert [fate.kept_as for fate in fates] == [[], ["daily", "newest"]]


def test_nothing_is_chosen_from_nothing() -> None:
    assert choose(catalogue(), Backups()) == []
