import pytest

from blocks.metrics.interface import Sample
from tasks.counting import Counts, added, counted_since


def sample(requests: float, errors: float = 0, **slower: float) -> Sample:
    return Sample(at=0, requests=requests, errors=errors, slower={float(k[1:]) / 100: v for k, v in slower.items()})


def test_counts_what_came_since() -> None:
    counts = counted_since(sample(100, 3, _25=10), sample(150, 5, _25=20))
    assert (counts.requests, counts.errors, dict(counts.slower)) == (50, 2, {0.25: 10})
    assert counts.error_rate == pytest.approx(0.04)


def test_a_process_started_anew_counts_from_zero() -> None:
    counts = counted_since(sample(1000, 30, _25=100), sample(20, 4, _25=6))
    assert (counts.requests, counts.errors, dict(counts.slower)) == (20, 4, {0.25: 6})


def test_no_more_are_bad_than_there_were() -> None:
    counts = counted_since(sample(100, 0, _25=0), sample(110, 50, _25=70))
    assert (counts.errors, counts.slower[0.25]) == (10, 10)


def test_a_bucket_that_appears_late_began_at_zero() -> None:
    assert counted_since(sample(0), sample(10, _25=4)).slower == {0.25: 4}


def test_p95_lies_within_its_bucket() -> None:
    counts = Counts(100, 0, {0.1: 10, 0.25: 0, 0.5: 0})
    assert counts.p95 == pytest.approx(0.175)


def test_p95_above_all_bounds_is_the_largest_bound() -> None:
    assert Counts(100, 0, {0.1: 90, 0.25: 60}).p95 == 0.25


def test_p95_of_nothing_is_unknown() -> None:
    assert Counts().p95 is None
    assert Counts(100).p95 is None


def test_slow_share_is_exact_at_a_bound_and_interpolated_between_two() -> None:
    counts = Counts(100, 0, {0.1: 40, 0.2: 20})
    assert counts.slow_share(0.1) == pytest.approx(0.4)
    assert counts.slow_share(0.15) == pytest.approx(0.3)
    assert counts.slow_share(0.05) == pytest.approx(0.7)
    assert counts.slow_share(9) == pytest.approx(0.2)


def test_releases_add_up() -> None:
    assert added([Counts(10, 1, {0.1: 3}), Counts(5, 2, {0.1: 1})]) == Counts(15, 3, {0.1: 4})
