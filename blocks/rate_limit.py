"""Waiting where a vendor says "not now, ask again in so many seconds" (status 429, RFC 9110 and RFC 6585)."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import httpx

LONGEST_SECONDS = 60.0
"""Waited for one look, all in all. Who asks for more is as good as away."""
LONGEST_FOR_A_CHANGE_SECONDS = 3.0
"""What changes something is allowed by the fence before it is sent, and has to come soon after that."""
LEAST_SECONDS = 0.5
"""Between two calls, also where a vendor says 0, or a date that is over by our clock."""
_UNTOLD_SECONDS = 60
"""To wait where GitHub puts a call off and does not say for how long."""


class Quota(NamedTuple):
    """Calls that a vendor takes in its window, as its last answer said."""

    left: int
    most: int


_watched: ContextVar[list[Quota] | None] = ContextVar("watched", default=None)


@contextmanager
def watching_quota() -> Iterator[list[Quota]]:
    """What the answers to this thread's calls say of it, in their order; vendors that say nothing are left out."""
    told: list[Quota] = []
    token = _watched.set(told)
    try:
        yield told
    finally:
        _watched.reset(token)


def read_retry_after(answer: httpx.Response) -> float | None:
    """Seconds until the call may be repeated; None where it was not put off, or nobody says for how long."""
    if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
        return None
    told = answer.headers.get("Retry-After", "")
    if told.isascii() and told.isdigit():
        return float(told)
    try:
        return max(0.0, (parsedate_to_datetime(told) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def read_reset(answer: httpx.Response) -> float | None:
    """Seconds until the window ends that `X-RateLimit-Reset` names, in seconds since 1970; None where it names none."""
    ends = answer.headers.get("X-RateLimit-Reset", "")
    if not (ends.isascii() and ends.isdigit()):
        return None
    return max(0.0, float(ends) - datetime.now(UTC).timestamp())


def read_wait_of_github(answer: httpx.Response) -> float | None:
    """GitHub puts calls off with 403, too, and says when in one of two ways.

    https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
    """
    if answer.status_code not in (httpx.codes.FORBIDDEN, httpx.codes.TOO_MANY_REQUESTS):
        return None
    if (told := answer.headers.get("Retry-After", "")).isascii() and told.isdigit():
        return float(told)
    if answer.headers.get("X-RateLimit-Remaining") == "0" and (ends := read_reset(answer)) is not None:
        return ends
    return _UNTOLD_SECONDS if answer.status_code == httpx.codes.TOO_MANY_REQUESTS else None


def ask_when_allowed(
    ask: Callable[[], httpx.Response],
    longest: float = LONGEST_SECONDS,
    read_wait: Callable[[httpx.Response], float | None] = read_retry_after,
) -> httpx.Response:
    """The answer to a call that was carried out, or the last one that put it off: for no said time, or too long."""
    deadline = time.monotonic() + longest
    while True:
        answer = ask()
        _note_quota(answer)
        seconds = read_wait(answer)
        if seconds is None or time.monotonic() + seconds > deadline:
            return answer
        time.sleep(max(seconds, LEAST_SECONDS))


def _note_quota(answer: httpx.Response) -> None:
    told = _watched.get()
    left, most = (answer.headers.get(f"X-RateLimit-{name}", "") for name in ("Remaining", "Limit"))
    if told is not None and left.isascii() and left.isdigit() and most.isascii() and most.isdigit():
        told.append(Quota(int(left), int(most)))
