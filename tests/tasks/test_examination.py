"""What `backstop doctor` says of a vendor that counts its calls."""

import json

import pytest

from blocks.environment import Environment
from blocks.metrics.prometheus_endpoint import PrometheusEndpoint
from blocks.platforms.sandbox import SandboxPlatform
from blocks.service import Service
from blocks.sources.git_repository import GitRepository
from tasks.examination import examine
from tasks.health import Check
from tests.tasks.small_service import Handler, SmallService

ANSWERS = {"/releases": {"releases": []}, "/traffic": {"split": {}}, "/disk": {"free_bytes": 2_000_000_000}}


def look_at_platform(headers: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Check:
    def answer(handler: Handler) -> None:
        body = json.dumps(ANSWERS[handler.path]).encode()
        handler.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    monkeypatch.setenv("TOKEN", "of the test")
    with SmallService({f"GET {path}": answer for path in ANSWERS}) as vendor:
        environment = Environment(
            environment="shop",
            platform=SandboxPlatform(url=vendor.url, token="${TOKEN}"),
            service=Service(url="http://127.0.0.1:1"),
            metrics=PrometheusEndpoint(),
            source=GitRepository(folder="unused"),
        )
        return next(check for check in examine(environment) if check.name == "platform")


@pytest.mark.parametrize(
    ("headers", "passed", "detail"),
    [
        ({}, True, "0 releases; traffic: none; 2.0 GB free"),
        (
            {"X-RateLimit-Limit": "500", "X-RateLimit-Remaining": "480"},
            True,
            "0 releases; traffic: none; 2.0 GB free; 480 of 500 calls left",
        ),
        (
            {"X-RateLimit-Limit": "500", "X-RateLimit-Remaining": "24"},
            False,
            "0 releases; traffic: none; 2.0 GB free; but only 24 of 500 calls are left.",
        ),
        (
            {"X-RateLimit-Limit": "many", "X-RateLimit-Remaining": "-1"},
            True,
            "0 releases; traffic: none; 2.0 GB free",
        ),
    ],
)
def test_how_many_calls_are_left_is_said_where_a_vendor_says_it(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], passed: bool, detail: str
) -> None:
    check = look_at_platform(headers, monkeypatch)
    assert (check.passed, check.detail) == (passed, detail)
    assert bool(check.hint) is not passed
