"""What every small stand-in has: a server on loopback, a published description, and bad days on demand."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import uvicorn
from openapi_core.exceptions import OpenAPIError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.blocks.platforms.waiting import eventually
from tests.deployments.shop.processes import free_port
from tests.standins.description import Description, Sent

Answer = tuple[int, Any]
Act = Callable[[Request, Any], Answer]
Trouble = Literal["", "put off", "put off for long", "fails", "fails after it", "no answer after it"]


class Refusal(Exception):
    def __init__(self, status: int, content: object) -> None:
        self.status, self.content = status, content


class StandIn:
    """Without a description it does the same, and holds nothing against it."""

    def __init__(self, description: Description | None) -> None:
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
            sent = Sent(request.method, request.url.path, request.query_params, request.headers, content)
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
            return JSONResponse(answered, status)

        return answer

    def _answer(self, act: Act, request: Request, sent: Sent) -> Answer:
        try:
            status, answered = act(request, json.loads(sent.content or b"{}"))
        except Refusal as refusal:
            return refusal.status, refusal.content
        if self._description is None:
            return status, answered
        try:
            self._description.check(sent, status, json.dumps(answered).encode())
        except OpenAPIError as error:
            self.violations.append(f"{sent.method} {sent.path}: {error}: {error.__cause__}")
        return status, answered


@contextmanager
def served(standing_in: StandIn) -> Iterator[None]:
    port = free_port()
    config = uvicorn.Config(standing_in.application(), "127.0.0.1", port, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    serving = threading.Thread(target=server.run, daemon=True)
    serving.start()
    try:
        eventually(lambda: server.started)
        standing_in.url = f"http://127.0.0.1:{port}"
        yield
    finally:
        server.should_exit = True
        serving.join(10)
