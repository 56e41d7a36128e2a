"""How a release reaches an environment: the steps, the windows, and what must hold before."""

from datetime import datetime
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from blocks.part import Part


class Freeze(BaseModel):
    """A time in which nothing is deployed."""

    model_config = ConfigDict(extra="forbid")

    begins: datetime = Field(description="With its time zone.")
    ends: datetime = Field(description="With its time zone.")
    reason: str = Field(min_length=1, max_length=200, description="Told to whoever wants to deploy then.")

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


class Rollout(Part):
    """How a release reaches the environment."""

    _block_type_name = "Rollout"
    _block_type_slug = "rollout"
    _description = "The steps in which a release gets traffic, how long it is watched, and what must hold before."

    steps: list[int] = Field(default=[10, 50, 100], description="Percent of the traffic; rises to 100.")
    step_seconds: float = Field(default=30, ge=0, le=3600, description="How long each step but the last is watched.")
    window_seconds: float = Field(default=300, ge=1, le=86400, description="How long all traffic is watched.")
    hotfix_window_seconds: float = Field(default=900, ge=1, le=86400, description="The same, for a hotfix.")
    baseline_seconds: float = Field(default=2, ge=0.2, le=300, description="How long the service is measured before.")
    start_seconds: float = Field(default=120, ge=1, le=3600, description="How long a release may take to start.")
    keep_releases: int = Field(default=1, ge=0, le=20, description="Previous releases kept running for a rollback.")
    staging: str | None = Field(default=None, description="Environment that must have run the version before.")
    deployer: Literal["platform", "tag"] = Field(
        default="platform",
        description="`platform`: Backstop starts it. `tag`: pushing the tag makes CI deploy it.",
    )
    least_free_disk_mb: int = Field(default=500, ge=0, description="Free disk that the platform must have.")
    backup_hours: float | None = Field(
        default=None, gt=0, le=24 * 365, description="Age of the newest backup at the most; none: nobody asks."
    )
    freezes: list[Freeze] = Field(default_factory=list, description="When nothing is deployed.")

    @field_validator("steps")
    @classmethod
    def _rises_to_all(cls, steps: list[int]) -> list[int]:
        if not steps or steps[-1] != 100 or steps != sorted(set(steps)) or steps[0] < 1:
            raise ValueError("must rise and end with 100, as [10, 50, 100]")
        return steps
