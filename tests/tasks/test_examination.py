"""What `backstop doctor` says of a vendor, of its calls and how far back it can go, and of how releases are started."""

import json

import pytest

from blocks.cloud_sql import CloudSql
from blocks.database import PostgresDatabase
from blocks.environment import Environment
from blocks.metrics.prometheus_endpoint import PrometheusEndpoint
from blocks.platforms.caddy import CaddyRoute
from blocks.platforms.compose import ComposeService
from blocks.platforms.docker import DockerPlatform
from blocks.platforms.interface import Platform
from blocks.platforms.sandbox import SandboxPlatform
from blocks.service import Service
from blocks.sources.git_repository import GitRepository
from tasks.examination import examine
from tasks.health import Check
from tests.blocks.test_cloud_sql import Nothing
from tests.standins.cloud_sql import INSTANCE, PROJECT, running_cloud_sql
from tests.standins.discovery import discovered
from tests.standins.google_token import running_google_tokens
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
        return look_at("platform", SandboxPlatform(url=vendor.url, token="${TOKEN}"))


def look_at(name: str, platform: Platform | None = None, database: PostgresDatabase | None = None) -> Check:
    environment = Environment(
        environment="shop",
        platform=platform or SandboxPlatform(url="http://127.0.0.1:1", token="${TOKEN}"),
        service=Service(url="http://127.0.0.1:1"),
        metrics=PrometheusEndpoint(),
        source=GitRepository(folder="unused"),
        database=database,
    )
    return next(check for check in examine(environment) if check.name == name)


def test_a_compose_file_that_no_release_could_be_started_by_is_said() -> None:
    platform = DockerPlatform(
        service="shop",
        image="shop",
        engine="tcp://127.0.0.1:1",
        caddy=CaddyRoute(route="shop"),
        compose=ComposeService(files=["/nowhere/compose.yaml"], service="web"),
    )
    check = look_at("platform can", platform)
    assert (check.passed, check.detail) == (
        False,
        "There is no compose file /nowhere/compose.yaml where the worker runs.",
    )


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


def test_how_far_back_the_database_can_go_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        running_google_tokens() as tokens,
        running_cloud_sql(tokens, discovered("google-sqladmin-v1"), Nothing()) as google,
    ):
        monkeypatch.setenv("GOOGLE_KEY", tokens.key())
        monkeypatch.setenv("TOKEN", "postgresql://nobody@127.0.0.1:1/none")
        cloud_sql = CloudSql(project=PROJECT, instance=INSTANCE, credentials="${GOOGLE_KEY}", url=google.url)
        database = PostgresDatabase(url="${TOKEN}", variable="DATABASE_URL", cloud_sql=cloud_sql)

        good = look_at("Cloud SQL", database=database)
        google.points_in_time = False
        keeps_none = look_at("Cloud SQL", database=database)
        google.denied = True
        denied = look_at("Cloud SQL", database=database)

    assert good.passed, good.detail
    assert good.detail.startswith("shop-db is RUNNABLE, POSTGRES_16 on db-custom-1-3840; 1 users; goes back to ")
    assert good.detail.endswith("clones: none")
    assert (keeps_none.passed, keeps_none.hint) == (False, "Switch point-in-time recovery on for it.")
    assert not denied.passed
    assert "permissions that docs/environment-file.md names" in denied.hint
    assert google.operations == []
