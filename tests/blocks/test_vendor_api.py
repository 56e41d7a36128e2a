"""Whatever a vendor answers, a call ends in time and in memory, and no error or log line tells a secret."""

import asyncio
import gc
import json
import logging
import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest

from blocks.errors import BackstopError, RefusedByPlatform, Unreachable
from blocks.vendor_api import MOST_BYTES, VendorApi
from tests.tasks.small_service import Handler, Respond, SmallService, drip, drip_headers, status

TOKEN, LOGIN, VALUE = "planted-token", "planted-login", "planted value"


@pytest.fixture
def service() -> Iterator[SmallService]:
    with SmallService({}) as service:
        yield service


@pytest.fixture
def api(service: SmallService, monkeypatch: pytest.MonkeyPatch) -> VendorApi:
    monkeypatch.setenv("VENDOR_TOKEN", TOKEN)
    monkeypatch.setenv("VENDOR_LOGIN", service.url.replace("//", f"//user:{LOGIN}@"))
    return VendorApi(
        named="The vendor",
        url=service.url,
        token="${VENDOR_TOKEN}",
        seconds=0.5,
        look="Look.",
        unauthorized="Another token.",
        read_reason=lambda refusal: refusal["error"]["message"],
        request_id="X-Number",
    )


@pytest.mark.parametrize("answer", [drip, drip_headers])
def test_one_that_drips_is_given_up_in_time(service: SmallService, api: VendorApi, answer: Respond) -> None:
    service.answers["GET /"] = answer
    with pytest.raises(Unreachable, match=r"did not answer within 0.5 s"):
        api.call("GET", "/")


def test_it_is_asked_from_within_a_running_loop_too(service: SmallService, api: VendorApi) -> None:
    service.answers["GET /"] = status(200)

    async def ask() -> int:
        return api.call("GET", "/").status_code

    assert asyncio.run(ask()) == 200


def test_one_that_has_no_end_is_given_up(service: SmallService, api: VendorApi) -> None:
    def pour(handler: Handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not handler.service.ending.is_set():
            handler.wfile.write(b" " * 100_000)

    service.answers["GET /"] = pour
    with pytest.raises(Unreachable, match=f"more than {MOST_BYTES} bytes"):
        replace(api, seconds=60).call("GET", "/")


def test_whoever_is_ended_meanwhile_leaves_nothing_behind(
    service: SmallService, api: VendorApi, caplog: pytest.LogCaptureFixture
) -> None:
    class Ended(BaseException): ...

    def end(*_: object) -> None:
        raise Ended

    def end_and_drip(handler: Handler) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        drip(handler)

    service.answers["GET /"] = end_and_drip
    before = signal.signal(signal.SIGUSR1, end)
    try:
        with pytest.raises(Ended):
            replace(api, seconds=60).call("GET", "/")
    finally:
        signal.signal(signal.SIGUSR1, before)
    gc.collect()
    assert not caplog.messages


@pytest.mark.parametrize(
    "told", [[], "no", {"error": None}, {"error": []}, {"message": "no"}, b"<html>", b"[" * 100_000]
)
def test_a_refusal_in_words_that_nobody_expects_is_one(service: SmallService, api: VendorApi, told: object) -> None:
    service.answers["GET /"] = status(400, told)
    careless = replace(api, read_reason=lambda refusal: refusal.get("error")["message"])
    for asked in (api, careless):
        with pytest.raises(RefusedByPlatform, match="refused: status 400"):
            asked.call("GET", "/")


@pytest.mark.parametrize("told", [[], "no", None, b"<html>", b"[" * 100_000])
def test_an_answer_that_nobody_expects_is_none(service: SmallService, api: VendorApi, told: object) -> None:
    service.answers["GET /"] = status(200, told)
    with pytest.raises(Unreachable, match="not the vendor"):
        api.parsed(str, api.call("GET", "/"), "name")


def refuse(handler: Handler) -> None:
    """With all that it was sent."""
    sent = handler.headers["Authorization"]
    code = 401 if "token" in handler.path else 400
    told = f"{'.' * 280} bad {sent.split()[1]} in {sent} and {VALUE}"
    handler.send_response(code)
    handler.send_header("X-Number", sent.split()[1])
    body = json.dumps({"error": {"message": told}}).encode()
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def redirect(handler: Handler) -> None:
    handler.send_response(302)
    handler.send_header("Location", f"{handler.service.url}/elsewhere?token={TOKEN}")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def cut(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(TOKEN.encode())


TROUBLES = {
    "refused": refuse,
    "redirected": redirect,
    "cut": cut,
    "not JSON": status(200, f"<p>{TOKEN} {VALUE}</p>".encode()),
    "another JSON": status(200, {"told": [TOKEN, VALUE]}),
    "failed": status(500, {"error": {"message": f"{TOKEN} {VALUE}"}}),
    "put off": status(429, {"error": {"message": TOKEN}}),
}


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES)
def test_neither_token_nor_login_nor_value_is_told(
    service: SmallService, api: VendorApi, caplog: pytest.LogCaptureFixture, trouble: Respond
) -> None:
    caplog.set_level(logging.DEBUG)
    with_login = replace(api, url="${VENDOR_LOGIN}", token=None)
    for asked, path in ((api, "/"), (api, "/token"), (with_login, "/")):
        service.answers[f"POST {path}"] = trouble
        with pytest.raises(BackstopError) as raised:
            asked.parsed(str, asked.call("POST", path, private=[VALUE], json={"value": VALUE}), "name")
        assert service.requests[-1].path == path
        assert "planted" not in " ".join([*_chain(raised.value), repr(asked), caplog.text])


def _chain(error: BaseException | None) -> list[str]:
    """What is shown of it, and of what it came from."""
    shown = []
    while error:
        shown += [str(error), repr(error), repr(vars(error))]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return shown
