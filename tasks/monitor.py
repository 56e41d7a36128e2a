"""Watch a release take traffic, until its window is over or it is clearly bad."""

import time
from collections.abc import Callable

from prefect import task
from prefect.cache_policies import NO_CACHE

from blocks.errors import BackstopError
from blocks.metrics.interface import Metrics, Sample
from blocks.platforms.interface import Release
from tasks.counting import added, counted_from_start, counted_since
from tasks.judgement import Judge
from tasks.verdict import Baseline, Reading, Verdict
from tasks.watch import Subject, Watch


# Never retried: a failed look means "unknown" here, and that is an answer.
@task(name="Measure baseline", cache_policy=NO_CACHE)
def measure_baseline(metrics: Metrics, releases: list[Release], seconds: float, minimum_samples: int) -> Baseline:
    """What the releases that carry the traffic do now: a look of `seconds`, or all that they
    counted since they started where the look saw fewer than `minimum_samples` requests.
    """
    before = _read_samples(metrics, releases)
    time.sleep(seconds)
    after = _read_samples(metrics, releases)
    counts = added(counted_since(before[id], after[id]) for id in after if id in before)
    if counts.requests < minimum_samples:
        counts = added(counted_from_start(sample) for sample in after.values())
    return Baseline(
        samples=counts.requests,
        error_rate=counts.error_rate,
        p95=counts.p95,
        slow_shares={bound: counts.slow_share(bound) for bound in counts.slower},
    )


def _read_samples(metrics: Metrics, releases: list[Release]) -> dict[str, Sample]:
    samples = {}
    for release in releases:
        try:
            samples[release.id] = metrics.read_sample(release)
        except BackstopError:
            continue
    return samples


# Never retried: the evidence is in `judge`, and whoever lost the run must not go on.
@task(name="Watch release", cache_policy=NO_CACHE)
def monitor_release(
    judge: Judge,
    subject: Subject,
    *,
    seconds: float,
    last: bool,
    on_reading: Callable[[Reading], None],
) -> Verdict:
    """Judge a release for one window of `seconds`, earlier when it is bad.
    Only the `last` window of a rollout has to bring enough requests.

    `judge` lives as long as the rollout. What `on_reading` raises ends the watch at once and is let through.
    """
    judge.open_window(time.monotonic())
    until = time.monotonic() + seconds
    with Watch(subject, judge.limits) as watch:
        while True:
            look = watch.look()
            on_reading(judge.see(look))
            if verdict := judge.verdict():
                return verdict
            if look.at >= until:
                return judge.close_window(last)
