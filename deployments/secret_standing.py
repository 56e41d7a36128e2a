"""How old an environment's secrets are, as the trail tells it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel

from blocks.ledger.connection import Connection
from tasks.secret_age import read_ages, read_previous

_DAY = timedelta(days=1)


class SecretStanding(BaseModel):
    secrets: list[str]
    """Each with its age."""
    overdue: list[str]
    """Those that are older than they may become."""


def read_secret_standing(connection: Connection, name: str, data: dict[str, Any]) -> SecretStanding:
    """`data`: of the environment's block. One that was never rotated has no age; it is due at the next look."""
    rotated = (data.get("secrets") or {}).get("rotated", {})
    limits = {secret: timedelta(days=spec.get("max_age_days", 92)) for secret, spec in rotated.items()}
    ages = read_ages(connection, name) if limits else {}
    previous = read_previous(connection, name) if limits else {}
    told = {secret: f"{ages[secret] / _DAY:.1f} days" if secret in ages else "never rotated" for secret in limits}
    left = {secret: f", the previous one to be retired after {_shown(until)}" for secret, until in previous.items()}
    return SecretStanding(
        secrets=[f"{secret}: {age}{left.get(secret, '')}" for secret, age in told.items()],
        overdue=[
            f"secret {secret}: {told[secret]} old; {limit / _DAY:g} days are allowed"
            for secret, limit in limits.items()
            if secret in ages and ages[secret] > limit
        ],
    )


def _shown(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
