"""How a rollout stands, for those who follow it: the run's page, and the readings for the report."""

import time

from prefect import get_run_logger

from tasks.ledger import current_run
from tasks.run_page import ProgressBar
from tasks.verdict import Reading

SHOW_SECONDS = 1.0


class Progress:
    """Of one rollout, over all its steps."""

    def __init__(self, version: str, seconds: float) -> None:
        """`seconds`: how long the rollout is watched in all, if it is good."""
        self._seconds = seconds
        self._began = time.monotonic()
        self._shown = 0.0
        self._readings: list[dict[str, object]] = []
        self._marks: list[dict[str, object]] = []
        self._bar = ProgressBar("monitor", f"Watching {version}")
        current_run().facts.update(readings=self._readings, marks=self._marks)

    def mark(self, what: str) -> None:
        self._marks.append({"at": round(self._elapsed, 2), "what": what})

    def show(self, reading: Reading) -> None:
        elapsed = self._elapsed
        self._readings.append(
            {
                "at": round(elapsed, 2),
                "error_rate": reading.error_rate,
                "error_rate_limit": reading.error_rate_limit,
                "p95": reading.p95,
                "p95_limit": reading.p95_limit,
                "evidence": reading.evidence,
            }
        )
        if elapsed - self._shown < SHOW_SECONDS:
            return
        self._shown = elapsed
        self._bar.show(min(99.0, 100 * elapsed / max(self._seconds, 0.1)))
        get_run_logger().info(
            "%d requests, %.1f %% failed, p95 %s, evidence against it %.0f %%",
            reading.requests,
            reading.error_rate * 100,
            f"{reading.p95 * 1000:.0f} ms" if reading.p95 else "unknown",
            reading.evidence * 100,
        )

    def finish(self) -> None:
        self._bar.finish()

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._began
