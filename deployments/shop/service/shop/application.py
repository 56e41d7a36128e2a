"""All endpoints, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg.errors import ReadOnlySqlTransaction
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from shop import health, metrics, offers, payments, sessions, tasks, uploads
from shop.faults import InjectFault
from shop.parts import Parts, make_parts
from shop.settings import Settings

ENDPOINTS = [
    ("GET", "/health", health.show_health),
    ("GET", "/health/detailed", health.show_components),
    ("GET", "/version", health.show_version),
    ("GET", "/metrics", metrics.show_metrics),
    ("GET", "/offers", offers.list_offers),
    ("POST", "/login", sessions.log_in),
    ("GET", "/tasks", tasks.list_tasks),
    ("POST", "/tasks", tasks.create_task),
    ("GET", "/tasks/{id:int}", tasks.show_task),
    ("PATCH", "/tasks/{id:int}", tasks.change_task),
    ("DELETE", "/tasks/{id:int}", tasks.delete_task),
    ("POST", "/uploads", uploads.save_upload),
    ("GET", "/uploads/{id:uuid}", uploads.show_upload),
    ("GET", "/encryption", uploads.count_encrypted),
    ("POST", "/webhooks/payment", payments.receive_event),
]


def make_application(settings: Settings) -> ASGIApp:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Parts]]:
        parts = make_parts(settings)
        yield {"parts": parts}
        await parts.close()

    faults = [Middleware(InjectFault)]
    routes = [Route(path, answer, methods=[method], middleware=faults) for method, path, answer in ENDPOINTS]
    service = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={
            HTTPException: answer_refusal,
            psycopg.OperationalError: answer_unavailable,
            ReadOnlySqlTransaction: answer_unavailable,
            TimeoutError: answer_unavailable,
        },
    )
    return metrics.CountRequests(service, routes)


async def answer_refusal(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def answer_unavailable(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"the database is not available ({type(error).__name__})"}, 503)
