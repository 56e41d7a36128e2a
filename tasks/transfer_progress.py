"""How a long transfer of bytes stands: on the run's page, in its log, in the terminal. Without Prefect, nowhere."""

import time

from prefect import get_run_logger
from prefect.runtime import flow_run

from tasks.run_page import ProgressBar

SHOW_SECONDS = 1.0


class TransferProgress:
    def __init__(self, what: str, expected_bytes: int) -> None:
        """`expected_bytes`: an estimate; the bar ends where the transfer does."""
        self._what = what
        self._expected = max(expected_bytes, 1)
        self._began = self._shown = time.monotonic()
        self._bar = ProgressBar("transfer", what) if flow_run.get_id() else None

    def show(self, done_bytes: int) -> None:
        """Called as often as one likes; tells once a second."""
        now = time.monotonic()
        if self._bar is None or now - self._shown < SHOW_SECONDS:
            return
        self._shown = now
        rate = done_bytes / (now - self._began)
        told = f"{self._what}: {in_words(done_bytes)} of about {in_words(max(self._expected, done_bytes))}"
        if done_bytes:
            left = max(0, self._expected - done_bytes) / rate
            told += f", {in_words(int(rate))}/s, about {left:.0f} s left"
        percent = min(99.0, 100 * done_bytes / self._expected)
        self._bar.show(percent, told)
        get_run_logger().info(told)

    def finish(self) -> None:
        if self._bar:
            self._bar.finish(f"{self._what}: done in {time.monotonic() - self._began:.1f} s")


def in_words(size: int) -> str:
    """Bytes for people, as 1.2 GB."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
