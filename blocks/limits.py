"""What a new release may do before its traffic is taken away. An edit holds from the next rollout on."""

from typing import Annotated

from pydantic import Field, StringConstraints

from blocks.part import Part

Path = Annotated[str, StringConstraints(pattern=r"^/([^/\s]\S*)?$", max_length=500)]
"""A path on the release's own address: begins with one slash, holds no host and no space."""


class Limits(Part):
    """When a release is bad, and when nobody can tell."""

    _block_type_name = "Limits"
    _block_type_slug = "limits"
    _description = "How many errors, how slow and how long unseen a new release may be before it is rolled back."

    error_rate: float = Field(
        default=0.01, ge=0.0001, le=0.9, description="Bad when more than this share of the requests fails."
    )
    error_rise: float = Field(
        default=0.05,
        ge=0,
        le=0.9,
        description="Where the previous release already fails more often than error_rate: "
        "the share by which the new one may be worse than that.",
    )
    p95_seconds: float = Field(
        default=2.0, gt=0, le=300, description="Bad when more than 5 % of the requests take longer than this."
    )
    p95_rise: float = Field(
        default=0.5, ge=0.05, le=10, description="Bad when p95 is above the previous release's by this share."
    )
    p95_floor_seconds: float = Field(
        default=0.05, ge=0, le=300, description="p95_rise never calls a p95 below this slow."
    )
    health_failures: int = Field(
        default=3, ge=1, le=100, description="Bad after this many failed health checks in a row."
    )
    unmeasured_seconds: float = Field(
        default=15, ge=1, le=3600, description="Not measurable after this many seconds without metrics."
    )
    minimum_samples: int = Field(
        default=30,
        ge=1,
        le=1_000_000,
        description="Fewer requests than this in a window cannot make it good.",
    )
    probes: list[Path] = Field(
        default_factory=list,
        max_length=20,
        description="Paths that visitors use (GET, without effects), sent straight to the new release.",
    )
    probes_per_second: float = Field(
        default=5, gt=0, le=20, description="How many probes a second are sent, all paths together."
    )
    read_interval: float = Field(default=0.5, ge=0.1, le=60, description="Seconds from one look to the next.")
    false_alarm: float = Field(
        default=0.0005,
        ge=1e-9,
        le=0.1,
        description="Highest chance that a release within the limits is called bad in one rollout.",
    )
