"""How often a good release is rolled back, and how fast a bad one is found.

Two ways, one judge. *real*: HTTP servers with Prometheus counters, read by the real reader in
real time, many at once. *accelerated*: the judge alone is fed the same kind of traffic on a
clock of its own, which makes half-hour windows affordable.

    python -m tests.benchmarks.false_rollbacks
"""

import math
import random
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from blocks.limits import Limits
from blocks.metrics.interface import Sample
from blocks.metrics.prometheus_endpoint import PrometheusEndpoint
from tasks.judgement import Judge
from tasks.monitor import measure_baseline, monitor_release
from tasks.verdict import Baseline, Look, Verdict
from tasks.watch import Subject
from tests.tasks.release_service import ReleaseService

BOUNDS = (0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 2.5)
BACKGROUND = 0.005

Slowness = Callable[[random.Random], float]


def natural(chance: random.Random) -> float:
    """Seconds: most near 40 ms, with a long tail; p95 is near 80 ms."""
    return chance.lognormvariate(math.log(0.04), 0.42)


def twice_as_slow(chance: random.Random) -> float:
    return 2 * natural(chance)


class Traffic(NamedTuple):
    """Visitors of the release; the control has the same number and is always good."""

    visitors: float
    error_rate: float = BACKGROUND
    slowness: Slowness = natural
    probes: bool = False
    bursts: bool = False
    """Once a minute, for 3 s, six of ten requests of both releases take a second longer."""
    breaks_after: float = 0
    """Seconds of good service before error_rate holds."""


def judge_real(traffic: Traffic, seconds: float, seed: int) -> Verdict:
    metrics, limits = PrometheusEndpoint(), Limits(probes=["/"] if traffic.probes else [])
    with ExitStack() as services:
        new = services.enter_context(
            ReleaseService("new", traffic.visitors, traffic.error_rate, traffic.slowness, seed)
        )
        old = services.enter_context(ReleaseService("old", traffic.visitors, BACKGROUND, natural, seed + 1_000_000))
        for _ in range(2000):
            old.visit()
        baseline = measure_baseline.fn(metrics, [old.release], 0.1, limits.minimum_samples)
        judge = Judge(limits, baseline)
        return monitor_release.fn(
            judge,
            Subject(metrics, new.release, [old.release], "/health"),
            seconds=seconds,
            last=True,
            on_reading=lambda _: None,
        )


class SimulatedRelease:
    """Counters without a server."""

    def __init__(self, traffic: Traffic, seed: int) -> None:
        self._traffic, self._chance = traffic, random.Random(seed)
        self._requests = self._errors = 0
        self._slower = dict.fromkeys(BOUNDS, 0)

    def serve(self, at: float, seconds: float) -> Sample:
        expected = self._traffic.visitors * seconds
        for _ in range(int(expected) + (self._chance.random() < expected % 1)):
            self._visit(at)
        return Sample(at=at, requests=self._requests, errors=self._errors, slower=dict(self._slower))

    def _visit(self, at: float) -> None:
        traffic, chance = self._traffic, self._chance
        error_rate = traffic.error_rate if at >= traffic.breaks_after else BACKGROUND
        duration = traffic.slowness(chance)
        if traffic.bursts and at % 60 < 3 and chance.random() < 0.6:
            duration += 1
        self._requests += 1
        self._errors += chance.random() < error_rate
        for bound in BOUNDS[: bisect_left(BOUNDS, duration)]:
            self._slower[bound] += 1


def judge_accelerated(traffic: Traffic, seconds: float, seed: int) -> Verdict:
    judge = Judge(Limits(), known_baseline())
    interval = judge.limits.read_interval
    new = SimulatedRelease(traffic, seed)
    old = SimulatedRelease(traffic._replace(error_rate=BACKGROUND, slowness=natural), seed + 1_000_000)
    for number in range(int(seconds / interval) + 1):
        at = number * interval
        control = {"old": old.serve(at, interval)} if traffic.bursts else {}
        judge.see(Look(at, new.serve(at, interval), control, healthy=True, probes=[]))
        if verdict := judge.verdict():
            return verdict
    return judge.close_window()


def known_baseline() -> Baseline:
    sample = SimulatedRelease(Traffic(visitors=5000), seed=7).serve(0, 1)
    shares = {bound: count / sample.requests for bound, count in sample.slower.items()}
    return Baseline(samples=sample.requests, error_rate=BACKGROUND, p95=0.08, slow_shares=shares)


class Row(NamedTuple):
    name: str
    judge: Callable[[Traffic, float, int], Verdict]
    traffic: Traffic
    seconds: float
    judgements: int
    at_once: int = 1


GOOD = [
    Row("good, 0.5 % errors, 20/s", judge_real, Traffic(20), 10, 200, 50),
    Row("good, 0.5 % errors, 20/s", judge_accelerated, Traffic(20), 300, 200),
    Row("good, bursts hit both releases", judge_accelerated, Traffic(10, bursts=True), 300, 50),
]
BAD = [
    Row("20 % errors, 2/s", judge_real, Traffic(2, 0.2), 40, 40, 40),
    Row("20 % errors, 20/s", judge_real, Traffic(20, 0.2), 30, 20, 20),
    Row("20 % errors, 2/s, with probes", judge_real, Traffic(2, 0.2, probes=True), 40, 20, 20),
    Row("twice as slow, 20/s", judge_real, Traffic(20, slowness=twice_as_slow), 40, 20, 20),
    Row("20 % errors after 5 good minutes", judge_accelerated, Traffic(20, 0.2, breaks_after=300), 600, 25),
    Row("2 % errors, 20/s", judge_accelerated, Traffic(20, 0.02), 1800, 30),
]


def judge_row(row: Row) -> list[Verdict]:
    with ThreadPoolExecutor(row.at_once) as pool:
        return list(pool.map(lambda seed: row.judge(row.traffic, row.seconds, seed), range(row.judgements)))


def quantile(values: Iterable[float], share: float) -> str:
    """Of times to a verdict; a judgement without one counts as never."""
    ranked = sorted(values)
    value = ranked[min(len(ranked) - 1, int(share * len(ranked)))] if ranked else math.inf
    return "never" if math.isinf(value) else f"{value:.1f} s"


def add_row(table: Table, row: Row, verdicts: list[Verdict]) -> None:
    times = [
        verdict.decided_after - row.traffic.breaks_after if verdict.outcome == "bad" else math.inf
        for verdict in verdicts
    ]
    outcomes = [verdict.outcome for verdict in verdicts]
    table.add_row(
        row.name,
        row.judge.__name__.removeprefix("judge_"),
        f"{row.seconds:g} s",
        str(row.judgements),
        str(outcomes.count("bad")),
        str(outcomes.count("not measurable")),
        quantile(times, 0.5),
        quantile(times, 0.9),
    )


def main() -> None:
    table = Table("release", "how", "window", "judgements", "rolled back", "not measurable", "median", "p90")
    began = time.monotonic()
    for row in GOOD:
        add_row(table, row, judge_row(row))
    with ThreadPoolExecutor(2) as side_by_side:
        for row, verdicts in zip(BAD, side_by_side.map(judge_row, BAD), strict=True):
            add_row(table, row, verdicts)
    Console(width=130).print(table, f"{time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    main()
