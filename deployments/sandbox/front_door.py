"""The one address that users know: each request goes on to a release that has traffic.

An ASGI application on httpx's bare transport, which adds and follows nothing by itself.
It takes two thirds of the CPU time that Starlette with httpx.AsyncClient takes.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import cast

import httpx
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from deployments.sandbox.routes import Backend, Routes

Headers = list[tuple[bytes, bytes]]

_logger = logging.getLogger(__name__)

_HOP_BY_HOP = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection"
    b" te trailer transfer-encoding upgrade".split()
)
_ANSWERED_HERE = frozenset([b"expect", b"x-forwarded-for", b"x-release"])
_IN_MAINTENANCE = (503, "in maintenance: please come back in a moment")
_COME_BACK_SECONDS = 30
_NO_TRAFFIC = (503, "no release has traffic")
_UNREACHABLE = (502, "no release with traffic can be reached")
_CONNECT_WITHIN = 2.0
_IDLE = 5.0
"""Seconds until an idle connection is dropped. A release must not drop it first: a request
would be sent into a connection that is being closed."""


class FrontDoor:
    def __init__(self, routes: Routes, answer_timeout: float) -> None:
        """`answer_timeout`: seconds that a release may be silent."""
        self._routes = routes
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100, keepalive_expiry=_IDLE)
        self._transport = httpx.AsyncHTTPTransport(limits=limits, trust_env=False)
        self._timeouts = httpx.Timeout(answer_timeout, connect=_CONNECT_WITHIN).as_dict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._routes.in_maintenance:
            refusal = _refusal(*_IN_MAINTENANCE)
            refusal.headers["Retry-After"] = str(_COME_BACK_SECONDS)
            await refusal(scope, receive, send)
            return
        for backend in self._routes.next():
            with self._routes.counted(backend):
                try:
                    await self._pass_on(backend, scope, receive, send)
                    return
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    continue  # nothing was sent, so another replica may have it
        reason = _UNREACHABLE if self._routes.has_traffic else _NO_TRAFFIC
        await _refusal(*reason)(scope, receive, send)

    async def close(self) -> None:
        await self._transport.aclose()

    async def _pass_on(self, backend: Backend, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._transport.handle_async_request(self._request(backend, scope, receive))
        except (httpx.ConnectError, httpx.ConnectTimeout):
            raise
        except ClientDisconnect:
            return
        except httpx.TransportError as error:
            await _broken_off(error, backend)(scope, receive, send)
            return
        try:
            await _relay(answer, backend, receive, send)
        except httpx.TransportError as error:
            # The answer has begun: leaving it incomplete makes the server cut the connection.
            _logger.warning("release %s broke off its answer: %s", backend.release_id, error)
        finally:
            await answer.aclose()

    def _request(self, backend: Backend, scope: Scope, receive: Receive) -> httpx.Request:
        headers = _end_to_end(scope["headers"])
        headers.append((b"x-forwarded-for", _forwarded_for(scope)))
        names = {name for name, _ in scope["headers"]}
        if b"host" not in names:
            headers.append((b"host", b"127.0.0.1"))
        if b"transfer-encoding" in names:
            headers = [(name, value) for name, value in headers if name != b"content-length"]
            headers.append((b"transfer-encoding", b"chunked"))
        has_body = not names.isdisjoint((b"content-length", b"transfer-encoding"))
        query = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
        return httpx.Request(
            scope["method"],
            httpx.URL(scheme="http", host="127.0.0.1", port=backend.port),
            headers=headers,
            stream=_Body(receive) if has_body else httpx.ByteStream(b""),
            extensions={"target": target, "timeout": self._timeouts},
        )


class _Body(httpx.AsyncByteStream):
    """A request's body as it arrives. Raises ClientDisconnect when it will not arrive."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            if message["body"]:
                yield message["body"]
            if not message.get("more_body"):
                return


async def _relay(answer: httpx.Response, backend: Backend, receive: Receive, send: Send) -> None:
    headers = [*_end_to_end(answer.headers.raw), (b"x-release", backend.release_id.encode())]
    await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
    gone = asyncio.create_task(_client_gone(receive))
    try:
        async for part in cast(httpx.AsyncByteStream, answer.stream):
            await send({"type": "http.response.body", "body": part, "more_body": True})
            if gone.done():
                return
    finally:
        gone.cancel()
    await send({"type": "http.response.body", "body": b""})


async def _client_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _end_to_end(headers: Headers) -> Headers:
    named = {
        name.strip().lower() for key, value in headers if key.lower() == b"connection" for name in value.split(b",")
    }
    left_out = _HOP_BY_HOP | _ANSWERED_HERE | named
    return [(name, value) for name, value in headers if name.lower() not in left_out]


def _forwarded_for(scope: Scope) -> bytes:
    before = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return b", ".join([*before, scope["client"][0].encode()])


def _broken_off(error: httpx.TransportError, backend: Backend) -> JSONResponse:
    if isinstance(error, httpx.TimeoutException):
        return _refusal(504, "the release did not answer in time", backend)
    return _refusal(502, f"the release broke off: {error}", backend)


def _refusal(status: int, message: str, backend: Backend | None = None) -> JSONResponse:
    headers = {"X-Release": backend.release_id} if backend else None
    return JSONResponse({"error": message}, status, headers)
