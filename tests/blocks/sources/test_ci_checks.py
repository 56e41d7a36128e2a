"""The CI's verdict on a commit, from a local stand-in of GitHub's checks, statuses and workflow runs.

It answers as GitHub's published API description has it (schemas `check-run`, `combined-commit-status`, `workflow-run`;
npm @octokit/openapi 23.0.2), in pages of at most 100.
"""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from blocks.errors import MissingReference, Unreachable
from blocks.sources.git_repository import GitRepository
from tests.deployments.shop.processes import free_port
from tests.tasks.small_service import Handler, Respond, SmallService, after, status

COMMIT = "c0ffee" * 6 + "c0ff"
PATH = f"/repos/ada/shop/commits/{COMMIT}/check-runs"
STATUSES = f"/repos/ada/shop/commits/{COMMIT}/status"
WORKFLOWS = "/repos/ada/shop/actions/runs"
CONCLUSIONS = ["failure", "cancelled", "timed_out", "action_required", None]


def check_run(name: str, conclusion: str | None = "success") -> dict[str, object]:
    url = f"https://api.github.com/repos/ada/shop/check-runs/{name}"
    return {
        "id": 4,
        "node_id": "MDg6Q2hlY2tSdW40",
        "head_sha": COMMIT,
        "name": name,
        "url": url,
        "html_url": url,
        "details_url": url,
        "external_id": "",
        "status": "completed" if conclusion else "in_progress",
        "conclusion": conclusion,
        "started_at": "2026-11-20T01:14:52Z",
        "completed_at": "2026-11-20T01:15:52Z" if conclusion else None,
        "check_suite": {"id": 5},
        "output": {
            "title": None,
            "summary": None,
            "text": None,
            "annotations_count": 0,
            "annotations_url": f"{url}/annotations",
        },
        "app": None,
        "pull_requests": [],
    }


def set_status(context: str, state: str) -> dict[str, object]:
    return {"id": 6, "context": context, "state": state, "description": None, "target_url": None}


def workflow_run(number: int, conclusion: str | None, event: str = "push") -> dict[str, object]:
    return {
        "id": 7,
        "name": f"CI {number}",
        "workflow_id": number,
        "head_sha": COMMIT,
        "event": event,
        "status": "completed" if conclusion else "in_progress",
        "conclusion": conclusion,
    }


def pages_of(*shown: dict[str, object], of: str = "check_runs") -> Respond:
    def respond(handler: Handler) -> None:
        query = parse_qs(urlsplit(handler.path).query)
        size, page = min(100, int(query.get("per_page", ["30"])[0])), int(query.get("page", ["1"])[0])
        listed = shown[size * (page - 1) : size * page]
        status(200, {"total_count": len(shown), of: listed})(handler)

    return respond


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallService]:
    monkeypatch.setenv("CI_TOKEN", "ghs_secret")
    nothing = {STATUSES: pages_of(of="statuses"), WORKFLOWS: pages_of(of="workflow_runs")}
    with SmallService({f"GET {path}": answer for path, answer in nothing.items()}) as service:
        yield service


def ask(github: SmallService) -> list[str] | None:
    repository = GitRepository(folder="unused", ci_url=f"{github.url}/repos/ada/shop/", ci_token="${CI_TOKEN}")
    return repository.read_failing_checks(COMMIT)


def test_green(github: SmallService) -> None:
    runs = [check_run("test"), check_run("lint", "neutral"), check_run("docs", "skipped")]
    github.answers[f"GET {PATH}"] = pages_of(*runs)
    assert ask(github) == []
    assert github.requests[0].headers["Authorization"] == "Bearer ghs_secret"


@pytest.mark.parametrize("conclusion", CONCLUSIONS)
def test_anything_else_is_not_green(github: SmallService, conclusion: str | None) -> None:
    github.answers[f"GET {PATH}"] = pages_of(check_run("test"), check_run("slow one", conclusion))
    assert ask(github) == ["slow one"]


def test_a_commit_without_checks_is_not_green(github: SmallService) -> None:
    github.answers[f"GET {PATH}"] = pages_of()
    assert ask(github) == ["no check has run"]


@pytest.mark.parametrize("state", ["pending", "failure", "error"])
def test_a_status_that_somebody_outside_actions_set_counts(github: SmallService, state: str) -> None:
    github.answers[f"GET {PATH}"] = pages_of()
    github.answers[f"GET {STATUSES}"] = pages_of(set_status("ok", "success"), set_status("other", state), of="statuses")
    assert ask(github) == ["other"]


def test_a_workflow_that_has_not_ended_is_not_green_though_all_its_checks_are(github: SmallService) -> None:
    github.answers[f"GET {PATH}"] = pages_of(check_run("the first job"))
    github.answers[f"GET {WORKFLOWS}"] = pages_of(workflow_run(1, None), of="workflow_runs")
    assert ask(github) == ["workflow CI 1"]
    (asked,) = [request for request in github.requests if WORKFLOWS in request.path]
    assert parse_qs(urlsplit(asked.path).query)["head_sha"] == [COMMIT]


def test_the_newest_run_of_a_workflow_counts_for_each_event(github: SmallService) -> None:
    github.answers[f"GET {PATH}"] = pages_of()
    runs = [workflow_run(1, "success"), workflow_run(1, "cancelled"), workflow_run(2, "failure", "pull_request")]
    github.answers[f"GET {WORKFLOWS}"] = pages_of(*runs, workflow_run(2, "success"), of="workflow_runs")
    assert ask(github) == ["workflow CI 2"]


def test_a_failure_on_the_third_page_counts(github: SmallService) -> None:
    runs = [*(check_run(f"test-{number}") for number in range(230)), check_run("the last", "failure")]
    github.answers[f"GET {PATH}"] = pages_of(*runs)
    assert ask(github) == ["the last"]
    assert sum("check-runs" in request.path for request in github.requests) == 3


def test_more_than_it_shows_is_not_taken_for_green(github: SmallService) -> None:
    github.answers[f"GET {PATH}"] = status(200, {"total_count": 5000, "check_runs": [check_run("test")]})
    with pytest.raises(Unreachable, match="has more of"):
        ask(github)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (status(401, {"message": "Bad credentials"}), "refused: Bad credentials"),
        (status(404, {"message": "Not Found"}), "refused: Not Found"),
        (status(429, {"message": "rate limit"}), "takes no more calls"),
        (status(301, {"message": "Moved Permanently"}), "failed with status 301"),
        (status(200, b"<html>"), "is not the host"),
        (status(200, {"message": "no list"}), "is not the host"),
        (status(200, ["list"]), "is not the host"),
        (status(200, {"total_count": 1, "check_runs": ["test"]}), "is not the host"),
        (status(200, {"total_count": 1, "check_runs": [{"name": "test"}]}), "is not the host"),
        (after(1, status(200)), "did not answer"),
    ],
)
def test_no_answer_is_not_green(
    github: SmallService, monkeypatch: pytest.MonkeyPatch, answer: Respond, complaint: str
) -> None:
    monkeypatch.setattr("blocks.sources.git_repository._CI_SECONDS", 0.5)
    github.answers[f"GET {PATH}"] = answer
    with pytest.raises(Unreachable, match=complaint) as failure:
        ask(github)
    assert "ghs_secret" not in repr(failure.value)


@pytest.mark.parametrize("token", ["ghs_secretü", "ghs_secret\nX: y"])
def test_a_token_that_cannot_be_sent_is_not_shown(
    github: SmallService, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("CI_TOKEN", token)
    with pytest.raises(Unreachable) as failure:
        ask(github)
    assert "ghs_secret" not in repr(failure.value)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(f"http://127.0.0.1:{free_port()}", id="nobody listens"),
        "http://[",
        "nonsense",
        "file:///etc/passwd",
    ],
)
def test_an_address_where_no_ci_is(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("CI_URL", url)
    with pytest.raises(Unreachable, match="CI_URL"):
        GitRepository(folder="unused", ci_url="${CI_URL}").read_failing_checks(COMMIT)


def test_without_ci_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert GitRepository(folder="unused").read_failing_checks(COMMIT) is None
    monkeypatch.delenv("CI_TOKEN", raising=False)
    with pytest.raises(MissingReference):
        GitRepository(folder="x", ci_url="http://127.0.0.1:1", ci_token="${CI_TOKEN}").read_failing_checks(COMMIT)
