"""A token for Google's APIs is got with a service account's key, kept, and got anew; neither is ever told."""

import json
import logging
import socket
from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from blocks.errors import BackstopError, RefusedByPlatform, RefusedBySink, Unreachable
from blocks.google_access import GoogleAccess
from blocks.vendor_api import VendorApi
from tests.standins.google_token import TOKEN_MARK, GoogleTokens, running_google_tokens
from tests.standins.serving import serving
from tests.tasks.small_service import SmallService, drip, status

REFERENCE = "${GOOGLE_CREDENTIALS}"


@pytest.fixture
def google(monkeypatch: pytest.MonkeyPatch) -> Iterator[GoogleTokens]:
    with running_google_tokens() as tokens:
        monkeypatch.setenv("GOOGLE_CREDENTIALS", tokens.key())
        yield tokens


@pytest.fixture
def access(google: GoogleTokens) -> GoogleAccess:
    return GoogleAccess(REFERENCE, 5)


@pytest.fixture
def api(google: GoogleTokens, access: GoogleAccess) -> Iterator[VendorApi]:
    """Of something that lets in who has a token."""

    async def answer(request: Request) -> Response:
        let_in = google.lets_in(request.headers.get("Authorization"))
        return JSONResponse({"error": {"message": "no"}}, 200 if let_in else 401)

    with serving(Starlette(routes=[Route("/", answer, methods=["GET", "POST"])])) as url:
        yield VendorApi("Google", url, access, 5, "Look.", "Another key.", lambda said: said["error"]["message"])


def test_a_token_is_got_once_and_kept(google: GoogleTokens, access: GoogleAccess) -> None:
    assert {access.read(), access.read(), GoogleAccess(REFERENCE, 5).read()} == set(google.given)
    assert len(google.given) == 1


def test_one_that_runs_out_soon_is_got_anew(google: GoogleTokens, access: GoogleAccess) -> None:
    google.good_for = 60
    assert access.read() != access.read()


def test_a_token_that_was_revoked_is_replaced_and_the_call_repeated(google: GoogleTokens, api: VendorApi) -> None:
    api.call("GET", "/")
    google.revoke()
    assert api.call("POST", "/").status_code == 200
    assert len(google.given) == 2


def test_where_new_tokens_are_refused_too_it_ends(google: GoogleTokens, api: VendorApi) -> None:
    google.lets_in = lambda authorization: False  # type: ignore[method-assign]
    with pytest.raises(RefusedByPlatform, match="Another key"):
        api.call("GET", "/")
    assert len(google.given) == 2


@pytest.mark.parametrize("key", ["", "no JSON", "[]", "{}", '{"type": "authorized_user"}'])
def test_what_is_no_key_is_refused_and_not_quoted(
    access: GoogleAccess, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("GOOGLE_CREDENTIALS", key)
    with pytest.raises(BackstopError, match="GOOGLE_CREDENTIALS") as raised:
        access.read()
    assert key == "" or key not in str(raised.value)


def test_a_key_that_google_refuses_is_told_as_the_part_wants_it(google: GoogleTokens, access: GoogleAccess) -> None:
    google.disabled = True
    with pytest.raises(RefusedBySink, match="refuses the key"):
        GoogleAccess(REFERENCE, 5, RefusedBySink).read()
    google.disabled = False
    assert access.read()


def test_no_answer_is_unreachable(google: GoogleTokens, access: GoogleAccess, monkeypatch: pytest.MonkeyPatch) -> None:
    google.fails = True
    with pytest.raises(Unreachable):
        access.read()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = f"http://127.0.0.1:{listener.getsockname()[1]}/token"
        monkeypatch.setenv("GOOGLE_CREDENTIALS", json.dumps({**json.loads(google.key()), "token_uri": nobody}))
        with pytest.raises(Unreachable):
            GoogleAccess(REFERENCE, 0.3).read()


@pytest.mark.parametrize(
    "told",
    [b"<html>log in</html>", [], {"access_token": "a", "expires_in": "soon"}, {"access_token": 1, "expires_in": []}],
)
def test_what_is_no_token_endpoint_is_unreachable(
    google: GoogleTokens, monkeypatch: pytest.MonkeyPatch, told: object
) -> None:
    with SmallService({"POST /token": status(200, told)}) as elsewhere:
        key = {**json.loads(google.key()), "token_uri": f"{elsewhere.url}/token"}
        monkeypatch.setenv("GOOGLE_CREDENTIALS", json.dumps(key))
        with pytest.raises(Unreachable, match="not Google's token endpoint"):
            GoogleAccess(REFERENCE, 5).read()


def test_one_that_drips_is_given_up_in_time(google: GoogleTokens, monkeypatch: pytest.MonkeyPatch) -> None:
    with SmallService({"POST /token": drip}) as slow:
        key = {**json.loads(google.key()), "token_uri": f"{slow.url}/token"}
        monkeypatch.setenv("GOOGLE_CREDENTIALS", json.dumps(key))
        with pytest.raises(Unreachable, match="gave no token"):
            GoogleAccess(REFERENCE, 0.3).read()


def test_neither_key_nor_token_is_told_or_logged(
    google: GoogleTokens, access: GoogleAccess, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    access.read()
    google.disabled = True
    access.forget()
    with pytest.raises(RefusedByPlatform) as raised:
        access.read()
    told = f"{raised.value!r} {access!r} {caplog.text}"
    secrets = (TOKEN_MARK, "assertion", json.loads(google.key())["private_key"].splitlines()[1])
    assert [one for one in secrets if one in told] == []
