"""The application's Redis."""

from pydantic import Field

from blocks.errors import Unreachable
from blocks.part import Part
from blocks.reference import Secret, resolve


class RedisCache(Part):
    """The application's Redis."""

    _block_type_name = "Redis cache"
    _block_type_slug = "redis-cache"
    _description = "The application's Redis."

    url: Secret = Field(description="Reference to its connection URL.")
    timeout: float = Field(default=5, gt=0, le=60, description="Seconds that connecting, and each answer, may take.")

    def ping(self) -> None:
        """Raises Unreachable; the URL is never in the message."""
        import redis  # here: most runs never ask it

        try:
            with redis.Redis.from_url(
                resolve(self.url), socket_timeout=self.timeout, socket_connect_timeout=self.timeout
            ) as client:
                client.ping()
        except (redis.RedisError, ValueError) as error:
            raise Unreachable(f"Redis does not answer ({type(error).__name__}).") from None
