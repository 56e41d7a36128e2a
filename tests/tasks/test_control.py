import pytest

from blocks.metrics.interface import Sample
from tasks.control import MARGIN, SECONDS, Control
from tasks.counting import Counts


def error_rate(counts: Counts) -> float:
    return counts.error_rate


def sample(at: float, requests: float, errors: float) -> Sample:
    return Sample(at=at, requests=requests, errors=errors, slower={})


def test_a_control_that_is_well_or_absent_excuses_nothing() -> None:
    control = Control()
    assert control.excuses(error_rate) == 0
    control.see(0, {"old": sample(0, 1000, 100)})
    control.see(1, {"old": sample(1, 1100, 100)})
    control.see(2, {})
    assert control.excuses(error_rate) == 0


def test_a_burst_excuses_at_its_first_look() -> None:
    control = Control()
    control.see(0, {"old": sample(0, 0, 0)})
    control.see(1, {"old": sample(1, 900, 0)})
    control.see(2, {"old": sample(2, 1000, 60)})
    assert control.excuses(error_rate) == pytest.approx(0.6 * MARGIN)


def test_a_control_with_few_requests_excuses_the_next_looks_too() -> None:
    control = Control()
    control.see(0, {"old": sample(0, 0, 0)})
    control.see(1, {"old": sample(1, 4, 2)})
    control.see(2, {"old": sample(2, 4, 2)})
    assert control.excuses(error_rate) == pytest.approx(0.5 * MARGIN)
    control.see(2 + SECONDS, {"old": sample(2 + SECONDS, 4, 2)})
    assert control.excuses(error_rate) == 0


def test_all_releases_with_traffic_are_one_control() -> None:
    control = Control()
    control.see(0, {"a": sample(0, 0, 0), "b": sample(0, 0, 0)})
    control.see(1, {"a": sample(1, 30, 10), "b": sample(1, 10, 0)})
    assert control.excuses(error_rate) == pytest.approx(0.25 * MARGIN)
