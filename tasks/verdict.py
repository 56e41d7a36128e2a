"""What a judgement is made of and what comes out of it."""

import math
from typing import Literal, NamedTuple

from pydantic import BaseModel

from blocks.metrics.interface import Sample
from tasks.counting import Counts


class Baseline(BaseModel):
    """The previous release before the rollout; samples = 0 when nothing is known of it."""

    samples: float = 0
    error_rate: float = 0
    p95: float | None = None
    """Seconds."""
    slow_shares: dict[float, float] = {}
    """Seconds → share of the requests that took longer."""

    def slow_share(self, seconds: float) -> float:
        """The share slower than `seconds`, two standard errors up: a short look proves little."""
        if not self.samples:
            return 0.0
        share = Counts(1, 0, self.slow_shares).slow_share(seconds)
        return share + 2 * math.sqrt(share * (1 - share) / self.samples)


class Look(NamedTuple):
    """What one look at the world brought."""

    at: float
    """Seconds, from time.monotonic()."""
    release: Sample | None
    """None: the metrics did not answer yet, or not in time."""
    control: dict[str, Sample]
    """Release id → sample, of the previous release while both have traffic."""
    healthy: bool | None
    """None: the health check has not answered yet."""
    probes: list[bool]
    """Whether each probe that ended since the last look succeeded."""
    trouble: str = ""
    """Why the metrics or the health check gave nothing, for a person."""


class Reading(BaseModel):
    """Where the judgement stands; the figures count from the beginning of the window."""

    elapsed: float
    measured: bool
    """False: this look brought no metrics."""
    requests: float
    errors: float
    error_rate: float
    error_rate_limit: float
    p95: float | None
    p95_limit: float
    healthy: bool | None
    probes: int
    failed_probes: int
    evidence: float
    """From 0 (nothing speaks against the release) to 1 (proven bad)."""


class Verdict(BaseModel):
    outcome: Literal["good", "bad", "not measurable"]
    reason: str
    """A sentence with figures."""
    samples: float
    error_rate: float
    p95: float | None
    decided_after: float
    """Seconds since the window began."""
