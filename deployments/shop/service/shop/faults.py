"""The defects that a release may carry on purpose, to be found by whoever deploys it.

    errors      every fifth request to /offers is answered with 500
    slow        offers and tasks take twice as long
    unhealthy   /health answers 503 for ever
    broken      the list of tasks answers 500

Every response that a defect touched says so in X-Injected-Fault.
"""

import itertools

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shop.release import FAULT, VERSION
from shop.work import work

MARK = {"X-Injected-Fault": VERSION}

_visits_to_offers = itertools.count(1)


class InjectFault:
    def __init__(self, app: ASGIApp, fault: str | None = FAULT) -> None:
        self._app = app
        self._fault = fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if status := failing_status(self._fault, scope["method"], scope["path"]):
            answer = JSONResponse({"error": f"injected: {self._fault}"}, status, headers=MARK)
            await answer(scope, receive, send)
        elif self._fault == "slow" and scope["path"].startswith(("/offers", "/tasks")):
            await work()
            await self._app(scope, receive, marking(send))
        else:
            await self._app(scope, receive, send)


def failing_status(fault: str | None, method: str, path: str) -> int | None:
    match fault, method, path:
        case "errors", _, "/offers" if next(_visits_to_offers) % 5 == 0:
            return 500
        case "unhealthy", _, "/health":
            return 503
        case "broken", "GET", "/tasks":
            return 500
    return None


def marking(send: Send) -> Send:
    async def send_marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(MARK)
        await send(message)

    return send_marked
