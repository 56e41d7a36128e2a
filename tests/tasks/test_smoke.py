"""The smoke test against a real HTTP server."""

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from blocks.errors import BackstopError, MissingReference
from blocks.service import Service, SmokeStep
from tasks.smoke import run_smoke
from tests.deployments.shop.processes import free_port
from tests.tasks.small_service import Respond, SmallService, drip, drip_headers, hang, status

PASSWORD = "do-not-show-me"
SIGNING_SECRET = "nor-me"


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMOKE_PASSWORD", PASSWORD)
    monkeypatch.setenv("SMOKE_SIGNING", SIGNING_SECRET)


@pytest.fixture
def service() -> Iterator[SmallService]:
    answers = {
        "POST /login": status(200, {"token": "t-1", "user": {"id": 7}}),
        "GET /tasks": status(200, [{"id": 1}]),
        "POST /tasks": status(201, {"id": 42, "done": False}),
        "DELETE /tasks/42": status(204, b""),
        "POST /webhook": status(200, {"ok": True}),
    }
    with SmallService(answers) as service:
        yield service


def run(service: SmallService, *steps: dict[str, Any], only: str = "", timeout: float = 5) -> str:
    smoke = [SmokeStep.model_validate({"name": f"step {number}", **step}) for number, step in enumerate(steps, 1)]
    return run_smoke(Service(url=service.url, smoke=smoke, timeout=timeout), service.url, only)


def test_steps_run_in_order_and_pass_on_what_they_kept(service: SmallService) -> None:
    told = run(
        service,
        {
            "request": "POST /login",
            "json": {"name": "demo", "password": "${SMOKE_PASSWORD}"},
            "keep": {"token": "token"},
        },
        {"request": "GET /tasks", "headers": {"Authorization": "Bearer {token}"}},
        {
            "request": "POST /tasks",
            "json": {"note": ["by {token}"]},
            "expect": 201,
            "expect_json": {"done": False},
            "keep": {"task": "id"},
        },
        {"request": "DELETE /tasks/{task}", "expect": 204},
    )
    assert told == "4 steps passed"
    login, listing, creation, deletion = service.requests
    assert json.loads(login.body) == {"name": "demo", "password": PASSWORD}
    assert login.headers["Content-Type"] == "application/json"
    assert listing.headers["Authorization"] == "Bearer t-1"
    assert json.loads(creation.body) == {"note": ["by t-1"]}
    assert (deletion.method, deletion.path) == ("DELETE", "/tasks/42")


def test_a_signed_body_is_what_the_receiver_computes(service: SmallService) -> None:
    sign = {"header": "X-Signature", "secret": "${SMOKE_SIGNING}"}
    run(service, {"request": "POST /webhook", "json": {"type": "ping"}, "sign": sign, "expect_json": {"ok": True}})
    (request,) = service.requests
    moment, digest = (part.partition("=")[2] for part in request.headers["X-Signature"].split(","))
    signed = f"{moment}.{request.body}".encode()
    assert digest == hmac.new(SIGNING_SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert abs(int(moment) - time.time()) < 5


def test_a_plain_body_is_sent_as_it_is(service: SmallService) -> None:
    service.answers["POST /uploads"] = status(201)
    run(service, {"request": "POST /uploads", "body": "ä {token} ${x}", "expect": 201})
    assert service.requests[0].body == "ä {token} ${x}"


def test_only_the_named_step_runs(service: SmallService) -> None:
    assert run(service, {"request": "GET /a"}, {"request": "GET /tasks"}, only="step 2") == "1 step passed"
    assert [request.path for request in service.requests] == ["/tasks"]


def test_the_first_failure_ends_it(service: SmallService) -> None:
    with pytest.raises(BackstopError, match="step 'step 1' answered 404, not 200"):
        run(service, {"request": "GET /unknown"}, {"request": "GET /tasks"})
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (status(200, {"ok": False}), "answered ok = 'False'"),
        (status(200, {"other": 1}), "without the expected members"),
        (status(200, ["ok"]), "without the expected members"),
        (status(200, None), "without the expected members"),
        (status(200, b"<html>"), "without the expected members"),
        (status(200, b"\xff\xfe"), "without the expected members"),
        (status(302, {"ok": True}), "answered 302, not 200"),
    ],
)
def test_an_answer_that_is_not_as_expected(service: SmallService, answer: Respond, complaint: str) -> None:
    service.answers["GET /strange"] = answer
    with pytest.raises(BackstopError, match=complaint):
        run(service, {"request": "GET /strange", "expect_json": {"ok": True}})


@pytest.mark.parametrize("answer", [hang, drip, drip_headers])
def test_a_step_ends_in_time(service: SmallService, answer: Respond) -> None:
    service.answers["GET /slow"] = answer
    began = time.monotonic()
    with pytest.raises(BackstopError, match="step 'step 1' got no answer"):
        run(service, {"request": "GET /slow"}, timeout=0.3)
    assert time.monotonic() - began < 20


def test_nobody_answers(service: SmallService) -> None:
    steps = [SmokeStep(name="log in", request="POST /login")]
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(BackstopError, match="step 'log in' got no answer"):
        run_smoke(Service(url=url, smoke=steps), url)


@pytest.mark.parametrize("value", [PASSWORD, f"{PASSWORD}\n", f"{PASSWORD}ü"])
def test_no_secret_is_in_an_error(service: SmallService, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """A header that cannot be sent is quoted by the libraries underneath."""
    monkeypatch.setenv("SMOKE_PASSWORD", value)
    with pytest.raises(BackstopError) as failure:
        run(service, {"request": "GET /x", "headers": {"Authorization": "${SMOKE_PASSWORD}"}})
    assert PASSWORD not in repr(failure.value)
    assert failure.value.__cause__ is None


def test_a_reference_that_leads_nowhere_is_named(service: SmallService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SMOKE_PASSWORD")
    with pytest.raises(MissingReference, match="SMOKE_PASSWORD"):
        run(service, {"request": "POST /login", "json": {"password": "${SMOKE_PASSWORD}"}})
    assert service.requests == []
