"""An issue for the cause of a rollback: opened where it is wanted, told where it is not, and never in anybody's way."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from prefect.logging import disable_run_logger

from blocks.environment import Environment
from blocks.metrics.prometheus_endpoint import PrometheusEndpoint
from blocks.platforms.sandbox import SandboxPlatform
from blocks.service import Service
from blocks.sources.git_repository import GitRepository
from tasks.issue import open_issue
from tasks.ledger import Run
from tests.tasks.small_service import SmallService, status

PATH, ADDRESS = "/repos/ada/shop/issues", "https://github.com/ada/shop/issues/7"
CAUSE = "3 of 10 visitors met an error.\n![seen](http://example.com/pixel)"


@pytest.fixture
def github() -> Iterator[SmallService]:
    with SmallService({f"POST {PATH}": status(201, {"html_url": ADDRESS})}) as service:
        yield service


def roll_back(github: SmallService, issues: bool = True) -> None:
    environment = Environment(
        environment="shop",
        platform=SandboxPlatform(url="http://127.0.0.1:1", token="${TOKEN}"),
        service=Service(url="http://127.0.0.1:1"),
        metrics=PrometheusEndpoint(),
        source=GitRepository(folder="unused", ci_url=f"{github.url}/repos/ada/shop", issues=issues),
    )
    with disable_run_logger():
        open_issue.fn(environment, "deploy in shop: Rolled back", CAUSE)


def recorded(run: Run) -> list[tuple[str, Any]]:
    rows = run.connection.execute("SELECT event, detail FROM audit WHERE event LIKE 'issue %'").fetchall()
    return [(row["event"], row["detail"]) for row in rows]  # type: ignore[index,call-overload]


def test_it_tells_what_happened_and_leads_to_the_run(github: SmallService, run: Run) -> None:
    roll_back(github)
    (request,) = github.requests
    asked = json.loads(request.body)
    assert asked["title"] == "deploy in shop: Rolled back"
    assert "3 of 10 visitors met an error." in asked["body"]
    assert f"/runs/flow-run/{run.id}" in asked["body"]
    assert "![seen]" not in asked["body"], "what a release says is shown as it is"
    assert recorded(run) == [("issue opened", {"url": ADDRESS})]


def test_nobody_is_asked_where_none_is_wanted(github: SmallService, run: Run) -> None:
    roll_back(github, issues=False)
    assert github.requests == []
    assert recorded(run) == []


def test_a_host_that_says_no_is_in_the_trail_and_in_nobodys_way(github: SmallService, run: Run) -> None:
    github.answers[f"POST {PATH}"] = status(410, {"message": "Issues are disabled for this repo"})
    roll_back(github)
    ((event, detail),) = recorded(run)
    assert event == "issue not opened"
    assert "Issues are disabled" in detail["reason"]
