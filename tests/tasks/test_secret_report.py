"""What a service says of its secrets is what it was given, or is named."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.environment import Environment
from blocks.metrics.prometheus_endpoint import PrometheusEndpoint
from blocks.platforms.sandbox import SandboxPlatform
from blocks.secrets.interface import Reported
from blocks.service import Service
from blocks.sources.git_repository import GitRepository
from tasks.secret_report import read_wrong_reports
from tests.tasks.small_service import SmallService, status

EXPECTED = Reported("/secrets", "all.session", ["new", "old"])
RELEASE = {
    "version": "v1",
    "commit": "c",
    "state": "running",
    "replicas": 1,
    "started_by": "",
    "created_at": "2026-11-22T00:00:00Z",
    "detail": "",
}


@pytest.fixture
def service() -> Iterator[SmallService]:
    """Platform and release in one: r2 has the traffic, r1 has none and says nothing."""
    with SmallService({"GET /traffic": status(200, {"split": {"r2": 100}})}) as service:
        releases = [
            {**RELEASE, "id": id, "url": url} for id, url in (("r1", "http://127.0.0.1:1"), ("r2", service.url))
        ]
        service.answers["GET /releases"] = status(200, {"releases": releases})
        yield service


@pytest.fixture
def environment(service: SmallService, tmp_path: Path) -> Environment:
    (tmp_path / "token").write_text("token")
    return Environment(
        environment="shop",
        platform=SandboxPlatform(url=service.url, token=f"file:{tmp_path}/token"),
        service=Service(url=service.url, timeout=5),
        metrics=PrometheusEndpoint(),
        source=GitRepository(folder="unused"),
    )


def answer(service: SmallService, session: object) -> None:
    service.answers["GET /secrets"] = status(200, {"all": {"session": session}})


def test_all_in_their_order_are_right_and_anything_else_is_wrong(
    environment: Environment, service: SmallService
) -> None:
    answer(service, ["new", "old"])
    assert read_wrong_reports(environment, EXPECTED) == []
    for wrong in (["old", "new"], ["new"], ["new", "old", "older"], "new", None):
        answer(service, wrong)
        assert read_wrong_reports(environment, EXPECTED) == ["release r2 reports another all.session at /secrets"]


def test_a_service_that_is_not_asked_has_nothing_wrong(environment: Environment, service: SmallService) -> None:
    assert read_wrong_reports(environment, None) == []
    assert service.requests == []


@pytest.mark.parametrize("content", [b"not JSON", {}, {"all": []}, ["all"], None])
def test_one_that_says_nothing_is_wrong(environment: Environment, service: SmallService, content: object) -> None:
    service.answers["GET /secrets"] = status(200, content)
    (wrong,) = read_wrong_reports(environment, EXPECTED)
    assert wrong == "release r2 reports nothing: /secrets answers 200 without all.session"


def test_one_that_does_not_answer_is_wrong(environment: Environment, service: SmallService) -> None:
    (wrong,) = read_wrong_reports(environment, EXPECTED)
    assert "answers 404" in wrong
    assert read_wrong_reports(environment, EXPECTED._replace(path="/a b")) != []
