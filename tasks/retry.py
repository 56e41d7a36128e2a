"""Which failures may pass by themselves, so that a step that is safe to repeat is tried again."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from blocks.errors import Unreachable

OUTAGE_SECONDS = 180.0
"""How long a way back waits for a part that went away: one that gives up leaves things half-way."""
PAUSE_SECONDS = 1.0

Result = TypeVar("Result")


def is_passing(task: Any, task_run: Any, state: Any) -> bool:
    """For `retry_condition_fn`: an outside part did not answer. A "no" is never asked again."""
    return isinstance(state.result(raise_on_failure=False), Unreachable)


def wait_out(step: Callable[[], Result], seconds: float = OUTAGE_SECONDS) -> Result:
    """Repeat a step, which must be safe to repeat, while an outside part does not answer. Then raises Unreachable.

    Bounded by time, as `retries=` is not: a part that hangs would be waited for many times as long as one that refuses.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return step()
        except Unreachable:
            if time.monotonic() >= deadline:
                raise
        time.sleep(PAUSE_SECONDS)
