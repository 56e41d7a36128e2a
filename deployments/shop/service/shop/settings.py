"""What the service is told by its environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field


class MissingSetting(Exception):
    """A variable that the service cannot do without is unset or empty."""


@dataclass(frozen=True)
class Settings:
    port: int
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    session_secret: bytes = field(repr=False)
    webhook_secret: bytes = field(repr=False)
    demo_password: str = field(repr=False)
    """Empty: no demo user is made."""


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Raises MissingSetting with the variable's name."""

    def required(name: str) -> str:
        if not environment.get(name):
            raise MissingSetting(name)
        return environment[name]

    return Settings(
        port=int(required("PORT")),
        database_url=required("DATABASE_URL"),
        redis_url=required("REDIS_URL"),
        session_secret=required("SHOP_SESSION_SECRET").encode(),
        webhook_secret=required("SHOP_WEBHOOK_SECRET").encode(),
        demo_password=environment.get("SHOP_DEMO_PASSWORD", ""),
    )
