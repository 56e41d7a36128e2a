"""Notices to real webhooks: whatever a channel does, the procedure goes on and the trail knows."""

import json
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import apprise
import pytest
from prefect.logging import disable_run_logger

from blocks.environment import Environment
from blocks.metrics.prometheus_endpoint import PrometheusEndpoint
from blocks.notices import Notices
from blocks.platforms.sandbox import SandboxPlatform
from blocks.service import Service
from blocks.sources.git_repository import GitRepository
from tasks import notice
from tasks.ledger import Run
from tasks.notice import announce
from tests.deployments.shop.processes import free_port
from tests.tasks.small_service import SmallService, drip, hang, status

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # by apprise, on Python 3.11

TITLE = "v1.1.0 is live in shop"
BODY = 'It replaced v1.0.0.\n– "Ünïcode" & <b>markup</b> 🚒 {{ inert }}'


@pytest.fixture
def webhook() -> Iterator[SmallService]:
    with SmallService({"POST /hook": status(200), "POST /broken": status(500)}) as service:
        yield service


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    """The first message loads apprise's hundred and more channels, which takes seconds on a busy machine."""
    apprise.Apprise().add("json://localhost")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notice, "SECONDS", 2)


def tell(monkeypatch: pytest.MonkeyPatch, **channels: str) -> None:
    for name, url in channels.items():
        monkeypatch.setenv(name, url)
    environment = Environment(
        environment="shop",
        platform=SandboxPlatform(url="http://127.0.0.1:1", token="${TOKEN}"),
        service=Service(url="http://127.0.0.1:1"),
        metrics=PrometheusEndpoint(),
        source=GitRepository(folder="unused"),
        notices=Notices(channels=[f"${{{name}}}" for name in channels]),
    )
    with disable_run_logger():
        announce.fn(environment, TITLE, BODY)


def recorded(run: Run) -> dict[str, Any]:
    rows = run.connection.execute("SELECT event, detail FROM audit WHERE event LIKE 'notice %'").fetchall()
    return {row["detail"]["channel"]: row["detail"].get("reason", row["event"]) for row in rows}  # type: ignore[index,attr-defined]


def url_of(webhook: SmallService, path: str) -> str:
    return webhook.url.replace("http://", "json://user:secret-word@") + path


def test_a_webhook_receives_title_and_body(webhook: SmallService, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(monkeypatch, GOOD=url_of(webhook, "/hook"))
    (request,) = webhook.requests
    content = json.loads(request.body)
    assert content["title"] == TITLE
    told, asked, link = content["message"].rsplit("\n", 2)
    assert (told, asked) == (BODY, "Asked for by Ada.")
    assert link.endswith("/runs/flow-run/run-1")
    assert recorded(run) == {"${GOOD}": "notice sent"}


def test_without_a_channel_nothing_is_sent(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(monkeypatch)
    assert recorded(run) == {}


def test_each_channel_fails_for_itself(
    webhook: SmallService, run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    tell(
        monkeypatch,
        BROKEN=url_of(webhook, "/broken"),
        CLOSED=f"json://user:secret-word@127.0.0.1:{free_port()}/",
        UNKNOWN="nosuchthing://user:secret-word@127.0.0.1/",
        NO_URL="secret-word",
        BAD_PORT="json://user:secret-word@127.0.0.1:99999999/",
        MISSING="",
        GOOD=url_of(webhook, "/hook"),
    )
    found = recorded(run)
    assert found.pop("${GOOD}") == "notice sent"
    assert found.keys() == {"${BROKEN}", "${CLOSED}", "${UNKNOWN}", "${NO_URL}", "${BAD_PORT}", "${MISSING}"}
    assert "notice sent" not in found.values()
    assert "secret-word" not in str(found)
    assert "secret-word" not in caplog.text


@pytest.mark.parametrize("answer", [hang, drip])
def test_a_channel_that_hangs_holds_nothing_up(
    webhook: SmallService, run: Run, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    """Neither the procedure nor the end of its process, which waits for every thread that is no daemon."""
    webhook.answers["POST /slow"] = answer
    before = {thread for thread in threading.enumerate() if not thread.daemon}
    began = time.monotonic()
    tell(monkeypatch, SLOW=url_of(webhook, "/slow"), GOOD=url_of(webhook, "/hook"))
    assert time.monotonic() - began < 20
    assert recorded(run) == {"${SLOW}": "no answer within 2 s", "${GOOD}": "notice sent"}
    ours = {thread for thread in threading.enumerate() if "process_request" not in thread.name}
    assert {thread for thread in ours if not thread.daemon} <= before
