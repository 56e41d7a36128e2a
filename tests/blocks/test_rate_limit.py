"""Calls that are put off, against a real HTTP server that counts and dates what arrives."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from blocks.errors import Unreachable
from blocks.platforms.sandbox import SandboxPlatform
from blocks.rate_limit import ask_when_allowed
from tests.tasks.small_service import Handler, SmallService


class PuttingOff:
    """Answers 429 so many times, then well."""

    def __init__(self, times: int, retry_after: str | None) -> None:
        self.times, self.retry_after = times, retry_after
        self.asked_at: list[float] = []

    def __call__(self, handler: Handler) -> None:
        self.asked_at.append(time.monotonic())
        put_off = len(self.asked_at) <= self.times
        handler.send_response(429 if put_off else 200)
        if put_off and self.retry_after is not None:
            handler.send_header("Retry-After", self.retry_after)
        body = b"" if put_off else b'{"releases": []}'
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@pytest.fixture
def service() -> Iterator[SmallService]:
    with SmallService({}) as service:
        yield service


def ask(service: SmallService, putting_off: PuttingOff, longest: float = 30) -> int:
    service.answers["GET /"] = putting_off
    return ask_when_allowed(lambda: httpx.get(service.url, trust_env=False), longest).status_code


def test_a_call_is_repeated_no_sooner_than_it_may(service: SmallService) -> None:
    putting_off = PuttingOff(2, "1")
    assert ask(service, putting_off) == 200
    first, second, third = putting_off.asked_at
    assert second - first >= 1
    assert third - second >= 1


def test_the_time_may_be_a_date(service: SmallService) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=2)
    putting_off = PuttingOff(1, format_datetime(soon, usegmt=True))
    assert ask(service, putting_off) == 200
    assert datetime.now(UTC) >= soon.replace(microsecond=0)


@pytest.mark.parametrize("told", ["3600", "Fri, 31 Dec 2999 23:59:59 GMT", "soon", "-1", "", "²", None])
def test_nobody_waits_for_too_long_or_for_nobody_knows_what(service: SmallService, told: str | None) -> None:
    putting_off = PuttingOff(1, told)
    assert ask(service, putting_off) == 429
    assert len(putting_off.asked_at) == 1


def test_all_waits_together_are_bounded(service: SmallService) -> None:
    putting_off = PuttingOff(100, "1")
    assert ask(service, putting_off, longest=2.5) == 429
    assert len(putting_off.asked_at) == 3


def test_a_platform_that_puts_a_call_off_is_asked_again(service: SmallService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "token-of-the-test")
    platform = SandboxPlatform(url=service.url, token="${TOKEN}")
    service.answers["GET /releases"] = PuttingOff(1, "0")
    assert platform.read_releases() == []
    service.answers["GET /releases"] = PuttingOff(1, "3600")
    with pytest.raises(Unreachable, match="takes no more calls for a moment"):
        platform.read_releases()
