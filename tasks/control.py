"""The previous release, watched at the same moments as the new one.

What makes both fail or slow at once (a busy machine, a database that restarts) is not the
new release's fault, and taking its traffic away would not help.
"""

from collections import deque
from collections.abc import Callable

from blocks.metrics.interface import Sample
from tasks.counting import Counts, added, counted_since

SECONDS = 5.0
"""How long a bad moment of the previous release excuses the new one."""

MARGIN = 1.5
"""How many times worse the new one may be in such a moment; it was started just now."""


class Control:
    def __init__(self) -> None:
        self._last: dict[str, Sample] = {}
        self._recent: deque[tuple[float, Counts]] = deque()

    def see(self, at: float, samples: dict[str, Sample]) -> None:
        """`samples`: release id → sample; without one that did not answer."""
        counts = added(
            counted_since(self._last[release], sample) for release, sample in samples.items() if release in self._last
        )
        self._last.update(samples)
        self._recent.append((at, counts))
        while self._recent[0][0] < at - SECONDS:
            self._recent.popleft()

    def excuses(self, share: Callable[[Counts], float]) -> float:
        """The share that the new release is allowed because of the control: 0 when the
        control is well or has no traffic. A short burst shows in the newest look, a control
        with few requests only in several.
        """
        if not self._recent:
            return 0.0
        newest = self._recent[-1][1]
        recent = added(counts for _, counts in self._recent)
        return MARGIN * max(share(newest), share(recent))
