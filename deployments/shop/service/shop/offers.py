"""What is on offer: public, and asked for more than anything else."""

import json
from contextlib import suppress
from typing import Any

from redis import RedisError
from starlette.requests import Request
from starlette.responses import JSONResponse

from shop.parts import Parts, parts_of
from shop.work import work

KEY = "shop:offers"
FRESH_SECONDS = 5


async def list_offers(request: Request) -> JSONResponse:
    await work()
    offers = await read_offers(parts_of(request))
    return JSONResponse({"offers": [show_offer(offer) for offer in offers]})


def show_offer(offer: dict[str, Any]) -> dict[str, Any]:
    return {"name": offer["name"], "cents": offer["cents"]}


async def read_offers(parts: Parts) -> list[dict[str, Any]]:
    """From the cache; from the database when the cache is empty or away."""
    try:
        if cached := await parts.cache.get(KEY):
            offers: list[dict[str, Any]] = json.loads(cached)
            return offers
    except RedisError:
        return await select_offers(parts)

    offers = await select_offers(parts)
    with suppress(RedisError):
        await parts.cache.set(KEY, json.dumps(offers), ex=FRESH_SECONDS)
    return offers


async def select_offers(parts: Parts) -> list[dict[str, Any]]:
    return await parts.database.fetch_all("select name, cents from offers order by name")
