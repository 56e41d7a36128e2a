"""Is the service alive, and are the parts that it needs?"""

import asyncio
import time
from collections.abc import Awaitable

import psycopg
from redis import RedisError
from starlette.requests import Request
from starlette.responses import JSONResponse

from shop.parts import parts_of
from shop.release import VERSION
from shop.settings import fingerprint

PATIENCE_SECONDS = 2.0


async def show_health(_: Request) -> JSONResponse:
    return JSONResponse({"status": "ok", "version": VERSION})


async def show_version(_: Request) -> JSONResponse:
    return JSONResponse({"version": VERSION})


async def show_components(request: Request) -> JSONResponse:
    parts = parts_of(request)
    database, redis = await asyncio.gather(
        check(parts.database.fetch_one("select now()")),
        check(parts.cache.ping()),
    )
    components = {"database": database, "redis": redis}
    settings = parts.settings
    in_use = {
        "session": settings.session_secrets,
        "data": settings.data_keys,
        "webhook": [settings.webhook_secret],
    }
    secrets = {name: [fingerprint(one) for one in each] for name, each in in_use.items()}
    ok = all(component["status"] == "ok" for component in components.values())
    answer = {"status": "ok" if ok else "down", "version": VERSION, "components": components, "secrets": secrets}
    return JSONResponse(answer, 200 if ok else 503)


async def check(question: Awaitable[object]) -> dict[str, str | float]:
    """{"status": "ok" or "down", "milliseconds": …} and, when down, the kind of "error"."""
    began = time.perf_counter()
    failure: dict[str, str | float] = {}
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await question
    except (psycopg.Error, RedisError, TimeoutError, OSError) as error:
        failure = {"error": type(error).__name__}
    milliseconds = round((time.perf_counter() - began) * 1000, 1)
    return {"status": "down" if failure else "ok", "milliseconds": milliseconds} | failure
