"""What the service is told by its environment."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field


class MissingSetting(Exception):
    """A variable that the service cannot do without is unset or empty."""


@dataclass(frozen=True)
class Settings:
    port: int
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    session_secrets: tuple[bytes, ...] = field(repr=False)
    """The first signs, all of them verify."""
    data_keys: tuple[bytes, ...] = field(repr=False)
    """The first encrypts, all of them decrypt; without any, data is not encrypted."""
    webhook_secret: bytes = field(repr=False)
    demo_password: str = field(repr=False)
    """Empty: no demo user is made."""


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Raises MissingSetting with the variable's name."""

    def required(name: str) -> str:
        if not environment.get(name):
            raise MissingSetting(name)
        return environment[name]

    def several(name: str) -> tuple[bytes, ...]:
        return tuple(one.encode() for one in required(name).split(","))

    data_keys = ",".join(environment.get(name, "") for name in ("SHOP_DATA_KEYS", "SHOP_DATA_KEY_NEXT"))

    return Settings(
        port=int(required("PORT")),
        database_url=required("DATABASE_URL"),
        redis_url=required("REDIS_URL"),
        session_secrets=several("SHOP_SESSION_SECRET"),
        data_keys=tuple(one.encode() for one in data_keys.split(",") if one),
        webhook_secret=required("SHOP_WEBHOOK_SECRET").encode(),
        demo_password=environment.get("SHOP_DEMO_PASSWORD", ""),
    )


def fingerprint(secret: bytes) -> str:
    """It tells random secrets apart, and says nothing else about them."""
    return hashlib.sha256(secret).hexdigest()[:16]
