"""Requests counted and timed, per route, for Prometheus."""

import time
from collections.abc import Iterable

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUESTS = Counter("http_requests", "Requests answered.", ["method", "route", "status"])
DURATIONS = Histogram(
    "http_request_duration_seconds",
    "From the request's arrival to the end of the answer.",
    ["route"],
    buckets=(
        *(0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.075, 0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5),
        *(0.75, 1, 1.5, 2, 3, 5),
    ),
)
NOT_COUNTED = {"/metrics", "/health", "/health/detailed"}
"""Asked by machines, at their own pace: they would drown what visitors see."""


class CountRequests:
    """Every counted route begins at zero, so that "no visitors yet" differs from "no data"."""

    def __init__(self, app: ASGIApp, routes: Iterable[Route]) -> None:
        self._app = app
        for route in routes:
            if route.path_format not in NOT_COUNTED:
                DURATIONS.labels(route.path_format)
                for method in (route.methods or set()) - {"HEAD"}:
                    REQUESTS.labels(method, route.path_format, "200")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        began = time.perf_counter()
        status = 500

        async def send_noting(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, send_noting)
        finally:
            count(scope, status, time.perf_counter() - began)


def count(scope: Scope, status: int, seconds: float) -> None:
    route = scope.get("route")
    path, methods = (route.path_format, route.methods) if isinstance(route, Route) else ("unmatched", None)
    # Whatever else a visitor may invent: no label may grow from it.
    method = scope["method"] if scope["method"] in (methods or ()) else "other"
    if path not in NOT_COUNTED:
        REQUESTS.labels(method, path, str(status)).inc()
        DURATIONS.labels(path).observe(seconds)


async def show_metrics(_: Request) -> Response:
    return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
