"""How a release reaches an environment: the steps, the windows, and what must hold before."""

from typing import Literal

from pydantic import Field, field_validator

from blocks.freeze import Freeze
from blocks.part import Part


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
