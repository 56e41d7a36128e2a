"""What the endpoints work with."""

from collections.abc import Mapping
from dataclasses import dataclass

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from starlette.requests import Request

from shop.database import Database
from shop.encryption import Encryption
from shop.settings import Settings

CACHE_SECONDS = 1.0
"""How long the cache may take to answer: it is there to save time."""


@dataclass(frozen=True)
class Parts:
    settings: Settings
    database: Database
    cache: Redis
    encryption: Encryption

    async def close(self) -> None:
        await self.database.close()
        await self.cache.aclose()


def make_parts(settings: Settings) -> Parts:
    cache = Redis.from_url(
        settings.redis_url,
        socket_timeout=CACHE_SECONDS,
        socket_connect_timeout=CACHE_SECONDS,
        retry=Retry(NoBackoff(), 1),
    )
    return Parts(
        settings=settings,
        database=Database(settings.database_url),
        cache=cache,
        encryption=Encryption(settings.data_keys),
    )


def parts_of(request: Request) -> Parts:
    state: Mapping[str, Parts] = request.scope["state"]
    return state["parts"]
