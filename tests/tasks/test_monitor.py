"""Against real HTTP servers. The tasks' functions are called without Prefect around them."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from blocks.errors import FenceLost
from blocks.limits import Limits
from blocks.metrics.prometheus_endpoint import PrometheusEndpoint
from blocks.platforms.interface import Release
from tasks.judgement import Judge
from tasks.monitor import measure_baseline, monitor_release
from tasks.verdict import Baseline, Reading, Verdict
from tasks.watch import Subject
from tests.tasks.release_service import Handler, ReleaseService

METRICS = PrometheusEndpoint(timeout=0.5)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def watch(
    release: Release,
    seconds: float = 2.0,
    limits: Limits | None = None,
    control: list[Release] | None = None,
    on_reading: Callable[[Reading], None] = lambda reading: None,
    metrics: PrometheusEndpoint = METRICS,
) -> Verdict:
    judge = Judge(limits or Limits(read_interval=0.1), Baseline())
    return monitor_release.fn(
        judge, Subject(metrics, release, control or [], "/health"), seconds=seconds, last=True, on_reading=on_reading
    )


def hang(handler: Handler) -> None:
    """Answers nothing until the reader gives up."""
    handler.rfile.read()


def drip(handler: Handler) -> None:
    """A byte of the headers now and then, for ever."""
    try:
        while True:
            handler.wfile.write(b"X")
            time.sleep(0.05)
    except OSError:
        return


def test_a_good_release_keeps_its_traffic() -> None:
    readings: list[Reading] = []
    with ReleaseService(visitors=50) as service:
        verdict = watch(service.release, on_reading=readings.append)
    assert verdict.outcome == "good"
    assert verdict.samples > 10
    assert verdict.decided_after >= 2, "a good release is watched to the end"
    assert any(reading.healthy and reading.measured for reading in readings)
    assert not any(reading.healthy is False for reading in readings)


def test_a_failing_release_is_found_early() -> None:
    with ReleaseService(visitors=50, error_rate=0.3) as service:
        verdict = watch(service.release, seconds=20)
    assert verdict.outcome == "bad"
    assert verdict.decided_after < 5


def test_probes_find_what_no_visitor_has_met_yet() -> None:
    limits = Limits(read_interval=0.1, probes=["/", "/orders"], probes_per_second=20)
    with ReleaseService(visitors=0, error_rate=1.0) as service:
        verdict = watch(service.release, seconds=20, limits=limits)
    assert verdict.outcome == "bad"
    assert verdict.decided_after < 5


def test_probes_are_believed_when_the_metrics_say_all_is_well() -> None:
    limits = Limits(read_interval=0.1, probes=["/orders"], probes_per_second=20)
    with ReleaseService(visitors=20) as service:
        service.special["/orders"] = lambda handler: handler.reply(500)
        verdict = watch(service.release, seconds=20, limits=limits)
    assert verdict.outcome == "bad"
    assert "probes of /orders failed" in verdict.reason


def test_failing_health_is_bad() -> None:
    with ReleaseService(visitors=50) as service:
        service.healthy = False
        verdict = watch(service.release, seconds=20)
    assert verdict.outcome == "bad"
    assert verdict.reason == "Its health check failed 3 times in a row. /health answers 503."


def test_a_release_that_is_gone_is_bad() -> None:
    with ReleaseService() as service:
        release = service.release
    assert watch(release, seconds=20).outcome == "bad"


@pytest.mark.parametrize("respond", [hang, drip])
def test_metrics_that_never_answer_are_not_measurable_and_delay_no_look(
    respond: Callable[[Handler], None],
) -> None:
    readings: list[Reading] = []
    limits = Limits(read_interval=0.1, unmeasured_seconds=1.5)
    with ReleaseService(visitors=50) as service:
        service.special["/metrics"] = respond
        verdict = watch(service.release, seconds=20, limits=limits, on_reading=readings.append)
    assert verdict.outcome == "not measurable"
    assert verdict.reason.startswith("No metrics for 2 s.")
    assert "no whole answer within 0.5 s" in verdict.reason
    assert len(readings) >= 7
    assert any(reading.healthy for reading in readings)


def test_a_control_that_hangs_does_not_stop_the_judgement() -> None:
    with ReleaseService(visitors=50, error_rate=0.5) as service, ReleaseService("old") as old:
        old.special["/metrics"] = hang
        verdict = watch(service.release, seconds=20, control=[old.release])
    assert verdict.outcome == "bad"
    assert verdict.decided_after < 5


def test_what_hits_the_control_too_does_not_roll_back() -> None:
    with (
        ReleaseService("new", visitors=100, error_rate=0.4, seed=1) as service,
        ReleaseService("old", visitors=100, error_rate=0.4, seed=2) as old,
    ):
        limits = Limits(read_interval=0.5)
        assert watch(service.release, seconds=3, limits=limits, control=[old.release]).outcome == "good"
        assert watch(service.release, seconds=3, limits=limits).outcome == "bad"


def test_what_on_reading_raises_ends_the_watch_at_once() -> None:
    def lose_the_fence(reading: Reading) -> None:
        raise FenceLost("Another run holds the environment.")

    limits = Limits(read_interval=0.1, probes=["/"], probes_per_second=0.1)
    with ReleaseService(visitors=50) as service:
        began = time.monotonic()
        with pytest.raises(FenceLost):
            watch(service.release, seconds=60, limits=limits, on_reading=lose_the_fence)
        assert time.monotonic() - began < 20
        assert not [thread for thread in threading.enumerate() if thread.name.startswith(("look", "probe"))]


def test_one_judge_serves_all_stages() -> None:
    judge = Judge(Limits(read_interval=0.1), Baseline())
    with ReleaseService(visitors=50) as service:
        for _ in range(2):
            verdict = monitor_release.fn(
                judge,
                Subject(METRICS, service.release, [], "/health"),
                seconds=1.5,
                last=True,
                on_reading=lambda _: None,
            )
            assert verdict.outcome == "good"
        service.error_rate = 1.0
        verdict = monitor_release.fn(
            judge, Subject(METRICS, service.release, [], "/health"), seconds=20, last=True, on_reading=lambda _: None
        )
    assert verdict.outcome == "bad"


def test_the_baseline_is_what_the_look_shows() -> None:
    with ReleaseService(visitors=200) as service:
        for _ in range(100):
            service.visit()
        service.error_rate = 0.5
        baseline = measure_baseline.fn(METRICS, [service.release], 1.0, 30)
    assert 100 < baseline.samples < 350
    assert 0.3 < baseline.error_rate < 0.7
    assert baseline.p95 is not None


def test_a_quiet_service_is_known_by_what_it_counted_since_its_start() -> None:
    with ReleaseService("a") as first, ReleaseService("b", error_rate=1.0) as second:
        for service in (first, second):
            for _ in range(50):
                service.visit()
        baseline = measure_baseline.fn(METRICS, [first.release, second.release], 0.1, 30)
    assert (baseline.samples, baseline.error_rate) == (100, 0.5)


def test_nothing_is_known_of_what_does_not_answer() -> None:
    with ReleaseService() as service:
        release = service.release
    assert measure_baseline.fn(METRICS, [release], 0.1, 30) == Baseline()
    assert measure_baseline.fn(METRICS, [], 0.1, 30) == Baseline()
