"""The rules by which a new release is good, bad or not measurable. No input or output here."""

from typing import Literal

from blocks.limits import Limits
from blocks.metrics.interface import Sample
from tasks.control import Control
from tasks.counting import SLOW_SHARE, Counts, added, counted_since
from tasks.sequential_test import SequentialTest
from tasks.verdict import Baseline, Look, Reading, Verdict

ERRORS, PROBES, SLOWNESS = 0.5, 0.25, 0.125
"""The part of the false alarms that each test may raise; slowness is tested at two bounds."""

SHORTEST_ERROR_SPELL = 1.0
SHORTEST_SLOW_SPELL = 5.0
"""Seconds. A busy machine makes every request of a moment slow; that alone proves nothing."""


class Judge:
    """Judges one rollout. Evidence carries over from window to window (one per stage)."""

    def __init__(self, limits: Limits, baseline: Baseline) -> None:
        self.limits = limits
        self.baseline = baseline
        alarm = limits.false_alarm
        self._errors = SequentialTest(alarm * ERRORS, SHORTEST_ERROR_SPELL)
        self._probes = SequentialTest(alarm * PROBES, SHORTEST_ERROR_SPELL)
        self._slowness = [SequentialTest(alarm * SLOWNESS, SHORTEST_SLOW_SPELL) for _ in range(2)]
        self._last: Sample | None = None
        self._rollout = Counts()
        self._weighed_at: float | None = None
        self._probes_weighed_at: float | None = None
        self._control = Control()
        self._health_failures = 0
        self.open_window(0.0)

    def open_window(self, now: float) -> None:
        """Begin the next stage; `now` in seconds from time.monotonic()."""
        self._opened_at = self._measured_at = self._now = now
        self._counts = Counts()
        self._probed = self._probes_failed = 0
        self._trouble = ""

    def see(self, look: Look) -> Reading:
        """Weigh one look."""
        self._now = look.at
        if look.trouble or (look.release and look.healthy):
            self._trouble = look.trouble
        self._control.see(look.at, look.control)
        if look.healthy is not None:
            self._health_failures = 0 if look.healthy else self._health_failures + 1
        if look.release is not None:
            self._measured_at = look.at
            self._weigh_metrics(look.release)
        self._weigh_probes(look.probes)
        return self._reading(look)

    def _weigh_metrics(self, sample: Sample) -> None:
        if self._last is not None:
            counts = counted_since(self._last, sample)
            self._counts = added([self._counts, counts])
            self._rollout = added([self._rollout, counts])
            if counts.requests:
                seconds = sample.at - (self._weighed_at or self._last.at)
                self._weigh(counts, seconds)
                self._weighed_at = sample.at
        self._last = sample

    def _weigh(self, counts: Counts, seconds: float) -> None:
        self._errors.weigh(counts.errors, counts.requests, self._allowed_errors(), seconds)
        for bound, test in zip(self._slow_bounds(counts), self._slowness, strict=False):
            test.weigh(counts.slower[bound], counts.requests, self._allowed_slow(bound), seconds)

    def _weigh_probes(self, probes: list[bool]) -> None:
        if not probes:
            return
        failed = probes.count(False)
        self._probed += len(probes)
        self._probes_failed += failed
        seconds = self._now - (self._probes_weighed_at or self._opened_at)
        self._probes.weigh(failed, len(probes), self._allowed_errors(), seconds)
        self._probes_weighed_at = self._now

    def _allowed_errors(self) -> float:
        """A fix for a sick service must be possible: it is held against what it replaces."""
        limits, before = self.limits, self.baseline.error_rate
        allowed = limits.error_rate if before <= limits.error_rate else before + limits.error_rise
        return max(allowed, self._control.excuses(lambda counts: counts.error_rate))

    def _allowed_slow(self, bound: float) -> float:
        """A release slower than the previous one by p95_rise, and no more, has as many
        requests above `bound` as that one had above `bound` / (1 + p95_rise).
        """
        return max(
            SLOW_SHARE,
            self.baseline.slow_share(bound / (1 + self.limits.p95_rise)),
            self._control.excuses(lambda counts: counts.slow_share(bound)),
        )

    def _slow_limit(self) -> float:
        limits, before = self.limits, self.baseline.p95
        if before is None:
            return limits.p95_seconds
        return min(limits.p95_seconds, max(limits.p95_floor_seconds, before * (1 + limits.p95_rise)))

    def _slow_bounds(self, counts: Counts) -> list[float]:
        """Where the histogram can show slowness: its bound at or above the limit, and its
        last one between the previous p95 and the limit, as bounds may lie far apart.
        """
        limit, before = self._slow_limit(), self.baseline.p95
        at_or_above = sorted(bound for bound in counts.slower if bound >= limit)[:1]
        if before is None or before > limit:
            return at_or_above
        lowest = max(before, self.limits.p95_floor_seconds)
        return at_or_above + sorted(bound for bound in counts.slower if lowest <= bound < limit)[-1:]

    def verdict(self) -> Verdict | None:
        """Bad or not measurable as soon as that is clear; None while it is not."""
        if reason := self._why_bad():
            return self._verdict("bad", reason)
        unseen = self._now - self._measured_at
        if unseen > self.limits.unmeasured_seconds:
            return self._verdict("not measurable", f"No metrics for {unseen:.0f} s. {self._trouble}".strip())
        return None

    def close_window(self, last: bool = True) -> Verdict:
        """The verdict at the window's end. Only the last one has to show enough requests to call it good."""
        if verdict := self.verdict():
            return verdict
        seconds = self._now - self._opened_at
        if last and self._counts.requests < self.limits.minimum_samples:
            reason = (
                f"Only {self._counts.requests:.0f} requests in {seconds:.0f} s; "
                f"fewer than {self.limits.minimum_samples} say nothing. {self._trouble}"
            )
            return self._verdict("not measurable", reason.strip())
        return self._verdict("good", self._why_good(seconds))

    def _why_bad(self) -> str:
        counts = self._rollout  # evidence carries over from stage to stage
        if self._health_failures >= self.limits.health_failures:
            return f"Its health check failed {self._health_failures} times in a row. {self._trouble}".strip()
        if self._errors.proven:
            return (
                f"{counts.errors:.0f} of {counts.requests:.0f} requests failed ({counts.error_rate:.1%}); "
                f"{self._allowed_errors():.1%} are allowed."
            )
        if self._probes.proven:
            return (
                f"{self._probes_failed} of {self._probed} probes of {', '.join(self.limits.probes)} failed; "
                f"{self._allowed_errors():.1%} are allowed."
            )
        for bound, test in zip(self._slow_bounds(counts), self._slowness, strict=False):
            if test.proven:
                return self._why_slow(bound)
        return ""

    def _why_slow(self, bound: float) -> str:
        counts = self._rollout
        return (
            f"{counts.slow_share(bound):.0%} of {counts.requests:.0f} requests took longer than {bound:g} s; "
            f"{self._allowed_slow(bound):.0%} are allowed. p95 is {_seconds(counts.p95)}, "
            f"before it was {_seconds(self.baseline.p95)}, the limit is {self._slow_limit():.3g} s."
        )

    def _why_good(self, seconds: float) -> str:
        counts = self._counts
        sentence = (
            f"{counts.errors:.0f} of {counts.requests:.0f} requests failed ({counts.error_rate:.2%}) "
            f"in {seconds:.0f} s, p95 {_seconds(counts.p95)}."
        )
        if not self._slow_bounds(counts):
            sentence += f" Slowness was not judged: no histogram bound at or above {self._slow_limit():.3g} s."
        return sentence

    def _verdict(self, outcome: Literal["good", "bad", "not measurable"], reason: str) -> Verdict:
        return Verdict(
            outcome=outcome,
            reason=reason,
            samples=self._counts.requests,
            error_rate=self._counts.error_rate,
            p95=self._counts.p95,
            decided_after=self._now - self._opened_at,
        )

    def _reading(self, look: Look) -> Reading:
        sick = self._health_failures / self.limits.health_failures
        tests = (self._errors, self._probes, *self._slowness)
        return Reading(
            elapsed=self._now - self._opened_at,
            measured=look.release is not None,
            requests=self._counts.requests,
            errors=self._counts.errors,
            error_rate=self._counts.error_rate,
            error_rate_limit=self._allowed_errors(),
            p95=self._counts.p95,
            p95_limit=self._slow_limit(),
            healthy=look.healthy,
            probes=self._probed,
            failed_probes=self._probes_failed,
            evidence=min(1.0, max(sick, *(test.progress for test in tests))),
        )


def _seconds(p95: float | None) -> str:
    return "unknown" if p95 is None else f"{p95:.3g} s"
