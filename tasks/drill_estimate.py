"""How long a recovery would take with the newest backup, from a drill that restored a smaller one."""

from collections.abc import Sequence

from blocks.manifest import Manifest
from tasks.drill_report import Estimate, Phase

GROWS_WITH_SIZE = ("download", "restore", "verify data")
"""Phases that read all of the data; every other one takes the same."""
AS_LARGE = 1.1
"""Up to so many times the size nothing is worth telling."""


def estimate_for_newest(phases: Sequence[Phase], drilled: Manifest, newest: Manifest) -> Estimate | None:
    """By the bytes of content. None where the newest is no larger, or no phase that counts depends on it."""
    if drilled.content_bytes == 0 or newest.content_bytes <= AS_LARGE * drilled.content_bytes:
        return None
    times = newest.content_bytes / drilled.content_bytes
    counted = [phase for phase in phases if phase.counts]
    if not any(phase.name in GROWS_WITH_SIZE for phase in counted):
        return None
    seconds = sum(phase.seconds * (times if phase.name in GROWS_WITH_SIZE else 1) for phase in counted)
    return Estimate(backup=newest.id, times_as_large=round(times, 2), seconds=round(seconds, 1))
