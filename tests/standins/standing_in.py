"""What every small stand-in has: a server on loopback, a published description, and bad days on demand."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from openapi_core.exceptions import OpenAPIError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.standins.description import Description, Sent
from tests.standins.discovery import Discovery, NotDescribed
from tests.standins.serving import serving

Answer = tuple[int, Any]
"""Status, and the content as JSON; None for an answer without any."""
Act = Callable[[Request, Any], Answer]
Trouble = Literal["", "put off", "put off for long", "fails", "fails after it", "no answer after it"]


class Refusal(Exception):
    def __init__(self, status: int, content: object) -> None:
        self.status, self.content = status, content


class StandIn:
    """Without a description it does the same, and holds nothing against it."""

    def __init__(self, description: Description | Discovery | None) -> None:
        self.url = ""
        self.trouble: list[Trouble] = []
        """What becomes of the next calls, one each."""
        self.asked: list[Sent] = []
        self.violations: list[str] = []
        """Of the description, by whoever asked or by this stand-in."""
        self._description = description

    def routes(self) -> list[tuple[str, str, Act]]:
        raise NotImplementedError

    def put_off(self, headers: dict[str, str]) -> Response:
        return JSONResponse({"status": "throttled", "message": "too many"}, 429, headers)

    def application(self) -> Starlette:
        return Starlette(routes=[Route(path, self._endpoint(act), methods=[verb]) for verb, path, act in self.routes()])

    def _endpoint(self, act: Act) -> Any:
        async def answer(request: Request) -> Response:
            content = await request.body()
            path = request.scope["raw_path"].decode()  # as it was sent: a quoted slash is none
            sent = Sent(request.method, path, request.query_params, request.headers, content)
            self.asked.append(sent)
            trouble = self.trouble.pop(0) if self.trouble else ""
            if trouble.startswith("put off"):
                return self.put_off({"Retry-After": "1"} if trouble == "put off" else {})
            if trouble == "fails":
                return JSONResponse({"status": "error", "message": "try again"}, 500)
            status, answered = self._answer(act, request, sent)
            if trouble == "fails after it":
                return JSONResponse({"status": "error", "message": "try again"}, 500)
            if trouble:
                while not await request.is_disconnected():
                    await asyncio.sleep(0.02)
            return Response(status_code=status) if answered is None else JSONResponse(answered, status)

        return answer

    def _answer(self, act: Act, request: Request, sent: Sent) -> Answer:
        try:
            status, answered = act(request, json.loads(sent.content or b"{}"))
        except Refusal as refusal:
            return refusal.status, refusal.content
        if self._description is None:
            return status, answered
        try:
            self._description.check(sent, status, b"" if answered is None else json.dumps(answered).encode())
        except (OpenAPIError, NotDescribed) as error:
            self.violations.append(f"{sent.method} {sent.path}: {error}: {error.__cause__}")
        return status, answered


@contextmanager
def served(standing_in: StandIn) -> Iterator[None]:
    with serving(standing_in.application()) as url:
        standing_in.url = url
        yield
