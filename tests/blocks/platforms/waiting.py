"""Tests wait for a condition, never for a time."""

import time
from collections.abc import Callable

OFTEN, SELDOM = 0.02, 0.5
"""Seconds between two looks, at the least and at the most."""


def eventually(condition: Callable[[], object], seconds: float = 30, tell: Callable[[], object] = str) -> None:
    """Return as soon as it holds; fail when it does not within so many seconds, with what there is instead.

    Looking takes a tenth of the time at the most, so that it hardly slows down what it waits for.
    """
    deadline = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        if condition():
            return
        ended = time.monotonic()
        assert ended < deadline, f"not within {seconds} s. {tell()}"
        time.sleep(min(max(9 * (ended - began), OFTEN), SELDOM))
