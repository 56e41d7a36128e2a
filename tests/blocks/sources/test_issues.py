"""An issue opened at GitHub, as its published API description has it: what is sent, and when it is put off."""

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from blocks.errors import Unreachable
from blocks.sources.git_repository import GitRepository
from tests.standins.description import Sent, described
from tests.tasks.small_service import Handler, Respond, SmallService, status

PATH = "/repos/ada/shop/issues"
ADDRESS = "https://github.com/ada/shop/issues/7"
TOKEN = "ghs_secret"
USER = {
    **dict.fromkeys(("login", "node_id", "avatar_url", "gravatar_id", "url", "html_url", "followers_url"), "https://x"),
    **dict.fromkeys(("following_url", "gists_url", "starred_url", "subscriptions_url"), "https://x"),
    **dict.fromkeys(("organizations_url", "repos_url", "events_url", "received_events_url", "type"), "https://x"),
    "id": 1,
    "site_admin": False,
}
OPENED: dict[str, Any] = {
    **dict.fromkeys(("url", "repository_url", "labels_url", "comments_url", "events_url"), "https://api.github.com/x"),
    "html_url": ADDRESS,
    "id": 1,
    "node_id": "MDU6SXNzdWUx",
    "number": 7,
    "state": "open",
    "title": "deploy in shop: Rolled back",
    "user": USER,
    "labels": [],
    "assignee": None,
    "milestone": None,
    "locked": False,
    "comments": 0,
    "closed_at": None,
    "created_at": "2026-11-22T14:00:00Z",
    "updated_at": "2026-11-22T14:00:00Z",
    "author_association": "OWNER",
}


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallService]:
    monkeypatch.setenv("CI_TOKEN", TOKEN)
    with SmallService({f"POST {PATH}": status(201, OPENED)}) as service:
        yield service


def repository(github: SmallService) -> GitRepository:
    return GitRepository(folder="unused", ci_url=f"{github.url}/repos/ada/shop", ci_token="${CI_TOKEN}", issues=True)


def put_off(code: int, **headers: str) -> Respond:
    """The first time."""
    put: list[bool] = []

    def respond(handler: Handler) -> None:
        if put:
            status(201, OPENED)(handler)
            return
        put.append(True)
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"{}")

    return respond


def test_it_is_opened_as_github_describes_it(github: SmallService) -> None:
    assert repository(github).open_issue("deploy in shop: Rolled back", "1 of 3 visitors met an error") == ADDRESS

    (asked,) = github.requests
    sent = Sent(asked.method, urlsplit(asked.path).path, {}, asked.headers, asked.body.encode())
    described("github").check(sent, 201, json.dumps(OPENED).encode())
    assert json.loads(asked.body)["body"] == "1 of 3 visitors met an error"
    assert asked.headers["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("code", "headers"),
    [
        (403, {"X_RateLimit_Remaining": "0", "X_RateLimit_Reset": "soon"}),
        (403, {"Retry_After": "1"}),
        (429, {"Retry_After": "1"}),
    ],
    ids=["the window ends", "secondary limit", "too many"],
)
def test_one_that_was_put_off_is_opened_then(github: SmallService, code: int, headers: dict[str, str]) -> None:
    soon = {name: str(int(time.time()) + 1) if value == "soon" else value for name, value in headers.items()}
    github.answers[f"POST {PATH}"] = put_off(code, **soon)
    assert repository(github).open_issue("title", "body") == ADDRESS
    assert len(github.requests) == 2


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (status(403, {"message": "Resource not accessible by integration"}), "Resource not accessible"),
        (status(410, {"message": "Issues are disabled for this repo"}), "Issues are disabled"),
        (status(503, {}), "failed with status 503"),
        (status(201, {}), "is not the host"),
    ],
)
def test_one_that_is_not_is_told_once_and_without_the_token(github: SmallService, answer: Respond, told: str) -> None:
    github.answers[f"POST {PATH}"] = answer
    with pytest.raises(Unreachable, match=told) as raised:
        repository(github).open_issue("title", "body")
    assert TOKEN not in repr(raised.value)
    assert len(github.requests) == 1
