"""The rules, fed with looks on a clock of the test's own."""

import random

import pytest
from prefect.blocks.core import Block

from blocks.limits import Limits
from blocks.metrics.interface import Sample
from tasks.judgement import Judge
from tasks.verdict import Baseline, Look, Reading, Verdict

BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
SICK = Baseline(samples=1000, error_rate=0.3, p95=0.08, slow_shares={0.05: 0.2, 0.1: 0.02, 0.25: 0.0})
WELL = Baseline(samples=1000, error_rate=0.0, p95=0.08, slow_shares={0.05: 0.2, 0.1: 0.02, 0.25: 0.0})


class Server:
    """Counters that grow as told."""

    def __init__(self, seed: int = 1) -> None:
        self._chance = random.Random(seed)
        self.requests = self.errors = 0
        self.slower = dict.fromkeys(BOUNDS, 0)

    def serve(self, at: float, requests: int = 10, error_rate: float = 0.0, seconds: float = 0.04) -> Sample:
        self.requests += requests
        self.errors += sum(self._chance.random() < error_rate for _ in range(requests))
        for bound in BOUNDS:
            self.slower[bound] += requests if seconds > bound else 0
        return Sample(at=at, requests=self.requests, errors=self.errors, slower=dict(self.slower))


class Rollout:
    """A judge and its clock: two looks a second."""

    def __init__(self, baseline: Baseline | None = None, **limits: object) -> None:
        self.judge = Judge(Limits.model_validate(limits), baseline or Baseline())
        self.now = 0.0
        self.judge.open_window(self.now)

    def look(
        self,
        release: Sample | None,
        control: Sample | None = None,
        healthy: bool | None = True,
        probes: list[bool] | None = None,
        trouble: str = "",
    ) -> Reading:
        controls = {"old": control} if control else {}
        reading = self.judge.see(Look(self.now, release, controls, healthy, probes or [], trouble))
        self.now += 0.5
        return reading

    def watch(self, seconds: float, error_rate: float = 0.0, took: float = 0.04, requests: int = 10) -> Verdict:
        server, end = Server(), self.now + seconds
        while self.now <= end:
            self.look(server.serve(self.now, requests, error_rate, took))
            if verdict := self.judge.verdict():
                return verdict
        return self.judge.close_window()


def test_a_good_release_is_good_at_the_end_of_its_window() -> None:
    verdict = Rollout(WELL).watch(60)
    assert verdict.outcome == "good"
    assert verdict.decided_after == pytest.approx(60)
    assert verdict.reason == "0 of 1200 requests failed (0.00%) in 60 s, p95 0.0475 s."


def test_errors_are_found_early_and_named_with_figures() -> None:
    verdict = Rollout().watch(60, error_rate=0.2)
    assert verdict.outcome == "bad"
    assert verdict.decided_after < 5
    assert "requests failed" in verdict.reason
    assert "1.0% are allowed" in verdict.reason
    assert verdict.samples == verdict.decided_after * 20


def test_a_fix_for_a_sick_service_may_fail_as_often_as_what_it_replaces() -> None:
    assert Rollout(SICK).watch(60, error_rate=0.3).outcome == "good"
    assert Rollout(WELL).watch(60, error_rate=0.3).outcome == "bad"


def test_it_may_not_be_worse_by_more_than_the_allowed_rise() -> None:
    assert Rollout(SICK).watch(60, error_rate=0.6).outcome == "bad"


@pytest.mark.parametrize(
    ("baseline", "took", "outcome"),
    [
        (Baseline(), 1.0, "good"),
        (Baseline(), 2.6, "bad"),
        (WELL, 0.09, "good"),
        (WELL, 0.3, "bad"),
    ],
)
def test_slowness_is_held_against_the_limit_and_the_previous_release(
    baseline: Baseline, took: float, outcome: str
) -> None:
    verdict = Rollout(baseline).watch(60, took=took)
    assert verdict.outcome == outcome
    if outcome == "bad":
        assert "took longer than" in verdict.reason


def test_below_the_floor_nothing_is_slow() -> None:
    fast = Baseline(samples=1000, p95=0.004, slow_shares={0.05: 0.0})
    assert Rollout(fast).watch(60, took=0.04).outcome == "good"
    assert Rollout(fast, p95_floor_seconds=0.3).watch(60, took=0.26).outcome == "good"
    assert Rollout(fast).watch(60, took=0.2).outcome == "bad"


def test_slowness_between_two_far_bounds_is_seen_where_the_histogram_shows_it() -> None:
    """p95 was 0.08 s and may be 0.12 s; the bound above that is 0.25 s, which 0.2 s never reaches."""
    assert Rollout(WELL).watch(60, took=0.2).outcome == "bad"


def test_a_fix_for_a_slow_service_may_be_as_slow_as_what_it_replaces() -> None:
    slow = Baseline(samples=1000, p95=4.0, slow_shares={1.0: 0.4, 2.5: 0.3})
    for baseline, outcome in ((slow, "good"), (WELL, "bad")):
        rollout, server = Rollout(baseline), Server()
        for tick in range(60):
            rollout.look(server.serve(rollout.now, 10, seconds=3.0 if tick % 4 == 0 else 0.04))
            if rollout.judge.verdict():
                break
        assert rollout.judge.close_window().outcome == outcome


def test_a_short_look_at_the_previous_release_excuses_more() -> None:
    def share(samples: int) -> float:
        return Baseline(samples=samples, p95=0.08, slow_shares={0.1: 0.2}).slow_share(0.1)

    assert share(30) > share(3000) > 0.2
    assert Baseline().slow_share(0.1) == 0


def test_a_histogram_too_short_for_the_limit_is_named() -> None:
    verdict = Rollout(p95_seconds=10).watch(60)
    assert verdict.outcome == "good"
    assert "Slowness was not judged" in verdict.reason


@pytest.mark.parametrize("share_of_visitors", [1, 5])
def test_what_hits_the_control_at_the_same_time_is_not_the_releases_fault(share_of_visitors: int) -> None:
    rollout, new, old = Rollout(WELL), Server(1), Server(2)
    for tick in range(240):
        burst = 40 <= tick < 70
        rate, took = (0.5, 1.0) if burst else (0.0, 0.04)
        release = new.serve(rollout.now, 10 // share_of_visitors, rate, took)
        rollout.look(release, old.serve(rollout.now, 10, rate, took))
        assert rollout.judge.verdict() is None
    assert rollout.judge.close_window().outcome == "good"


def test_the_same_burst_with_a_control_that_is_well_is_its_fault() -> None:
    rollout, new, old = Rollout(WELL), Server(1), Server(2)
    for _ in range(30):
        rollout.look(new.serve(rollout.now, 10, 0.5), old.serve(rollout.now, 10))
    verdict = rollout.judge.verdict()
    assert verdict is not None
    assert verdict.outcome == "bad"


def test_too_few_requests_are_not_measurable() -> None:
    verdict = Rollout().watch(10, requests=1)
    assert verdict.outcome == "not measurable"
    assert verdict.reason == "Only 20 requests in 10 s; fewer than 30 say nothing."


def test_too_few_requests_can_still_be_clearly_bad() -> None:
    verdict = Rollout().watch(10, requests=1, error_rate=1.0)
    assert verdict.outcome == "bad"
    assert verdict.samples < 30


def test_each_window_needs_requests_of_its_own() -> None:
    rollout = Rollout()
    assert rollout.watch(10).outcome == "good"
    rollout.judge.open_window(rollout.now)
    assert rollout.watch(10, requests=0).outcome == "not measurable"


def test_evidence_carries_over_to_the_next_window() -> None:
    rollout, server = Rollout(), Server()
    while rollout.look(server.serve(rollout.now, 2, 0.2)).evidence < 0.5:
        pass
    rollout.judge.open_window(rollout.now)
    assert rollout.look(server.serve(rollout.now, 0)).evidence >= 0.5


def test_no_metrics_for_too_long_is_not_measurable() -> None:
    rollout = Rollout(unmeasured_seconds=5)
    while (verdict := rollout.judge.verdict()) is None:
        rollout.look(None, trouble="The endpoint hangs.")
    assert (verdict.outcome, verdict.reason) == ("not measurable", "No metrics for 6 s. The endpoint hangs.")


def test_metrics_that_come_back_in_time_are_enough() -> None:
    rollout, server = Rollout(unmeasured_seconds=5), Server()
    for tick in range(100):
        rollout.look(server.serve(rollout.now, 10) if tick % 8 == 0 else None)
        assert rollout.judge.verdict() is None
    assert rollout.judge.close_window().outcome == "good"


def test_a_restarted_process_is_judged_by_its_new_counters() -> None:
    rollout = Rollout()
    rollout.look(Sample(at=0, requests=5000, errors=10, slower={}))
    reading = rollout.look(Sample(at=0.5, requests=8, errors=2, slower={}))
    assert (reading.requests, reading.errors) == (8, 2)


def test_what_was_counted_before_the_window_is_not_held_against_it() -> None:
    rollout = Rollout()
    reading = rollout.look(Sample(at=0, requests=50, errors=50, slower={}))
    assert (reading.requests, reading.evidence) == (0, 0)


def test_health_is_bad_after_failures_in_a_row_only() -> None:
    rollout, server = Rollout(), Server()
    for healthy in (False, False, True, None, False, None, False):
        rollout.look(server.serve(rollout.now), healthy=healthy)
    assert rollout.judge.verdict() is None
    rollout.look(server.serve(rollout.now), healthy=False, trouble="/health answers 503.")
    verdict = rollout.judge.verdict()
    assert verdict is not None
    assert verdict.outcome == "bad"
    assert verdict.reason == "Its health check failed 3 times in a row. /health answers 503."


def test_probes_tell_what_lying_metrics_do_not() -> None:
    rollout, server = Rollout(probes=["/", "/orders"]), Server()
    for tick in range(30):
        rollout.look(server.serve(rollout.now), probes=[tick % 3 > 0, True])
    verdict = rollout.judge.verdict()
    assert verdict is not None
    assert verdict.outcome == "bad"
    assert "10 of 60 probes of /, /orders failed" in verdict.reason


@pytest.mark.parametrize("path", ["orders", "//elsewhere/", "http://elsewhere/", "/a b", ""])
def test_a_probe_stays_on_the_releases_address(path: str) -> None:
    with pytest.raises(ValueError, match="probes"):
        Limits(probes=[path])


def test_every_limit_is_described_and_is_a_block() -> None:
    assert issubclass(Limits, Block)
    own = set(Limits.model_fields) - set(Block.model_fields)
    assert all(Limits.model_fields[name].description for name in own)


@pytest.mark.parametrize(("error_rate", "outcome"), [(0.2, "bad"), (0.008, "good")])
def test_numbers_that_come_late_and_once_a_minute_are_judged_like_all_others(error_rate: float, outcome: str) -> None:
    """Two requests a second, of which the first are seen after six minutes."""
    rollout, server = Rollout(unmeasured_seconds=420), Server()
    sample = None
    for minute in range(15):
        if minute >= 6:
            sample = server.serve(rollout.now, 120, error_rate)
        for _ in range(120):
            rollout.look(sample and sample.model_copy(update={"at": rollout.now}))
        if verdict := rollout.judge.verdict():
            break
    else:
        verdict = rollout.judge.close_window()
    assert verdict.outcome == outcome, verdict.reason
    assert outcome == "good" or verdict.decided_after < 9 * 60
