"""Times in which nothing is changed without need."""

from collections.abc import Iterable
from datetime import datetime
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Freeze(BaseModel):
    """A time in which nothing is deployed, or changed at all."""

    model_config = ConfigDict(extra="forbid")

    begins: datetime = Field(description="With its time zone.")
    ends: datetime = Field(description="With its time zone.")
    reason: str = Field(min_length=1, max_length=200, description="Told to whoever wants to change something then.")

    @field_validator("begins", "ends")
    @classmethod
    def _has_time_zone(cls, moment: datetime) -> datetime:
        if moment.tzinfo is None:
            raise ValueError("must say its time zone, as 2026-12-24T00:00:00+01:00")
        return moment

    @model_validator(mode="after")
    def _ends_later(self) -> Self:
        if self.ends <= self.begins:
            raise ValueError("must end after it begins")
        return self


def describe_freeze(freezes: Iterable[Freeze], now: datetime) -> str:
    """Until when and why there is one now; empty when there is none."""
    told = (f"frozen until {one.ends.isoformat()}: {one.reason}" for one in freezes if one.begins <= now < one.ends)
    return next(told, "")
