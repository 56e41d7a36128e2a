"""From counters that only grow to what happened between two looks at them."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from blocks.metrics.interface import Sample

SLOW_SHARE = 0.05
"""p95 > L says: more than this share of the requests takes longer than L."""


class Counts(NamedTuple):
    """Requests of some span of time."""

    requests: float = 0
    errors: float = 0
    slower: Mapping[float, float] = MappingProxyType({})
    """Seconds → requests that took longer than that."""

    @property
    def error_rate(self) -> float:
        return self.errors / self.requests if self.requests else 0.0

    def slow_share(self, seconds: float) -> float:
        """Share of the requests that took longer than `seconds`, interpolated between two
        bounds of the histogram; 0 without requests or buckets.
        """
        if not self.requests or not self.slower:
            return 0.0
        low, above_low = 0.0, self.requests
        for bound, above in sorted(self.slower.items()):
            if bound >= seconds:
                passed = (seconds - low) / (bound - low)
                return (above_low - (above_low - above) * passed) / self.requests
            low, above_low = bound, above
        return above_low / self.requests

    @property
    def p95(self) -> float | None:
        """Seconds, interpolated within its bucket; the largest bound when it lies above;
        None without requests or buckets.
        """
        if not self.requests or not self.slower:
            return None
        most = SLOW_SHARE * self.requests
        low, above_low = 0.0, self.requests
        for bound, above in sorted(self.slower.items()):
            if above <= most:
                return low + (bound - low) * (above_low - most) / (above_low - above)
            low, above_low = bound, above
        return low


def counted_since(before: Sample, after: Sample) -> Counts:
    """What happened from one sample to the next. Where a counter shrank, a process started
    anew and all its counters began at zero.

    No more requests can be bad than there were, whatever the counters say.
    """
    if after.requests < before.requests or after.errors < before.errors:
        before = Sample(at=before.at, requests=0, errors=0, slower={})
    requests = after.requests - before.requests

    def grown(now: float, then: float) -> float:
        return min(requests, max(0.0, now - then))

    return Counts(
        requests,
        grown(after.errors, before.errors),
        {bound: grown(count, before.slower.get(bound, 0)) for bound, count in after.slower.items()},
    )


def counted_from_start(sample: Sample) -> Counts:
    return counted_since(Sample(at=sample.at, requests=0, errors=0, slower={}), sample)


def added(counts: Iterable[Counts]) -> Counts:
    requests = errors = 0.0
    slower: dict[float, float] = {}
    for one in counts:
        requests += one.requests
        errors += one.errors
        for bound, count in one.slower.items():
            slower[bound] = slower.get(bound, 0) + count
    return Counts(requests, errors, slower)
