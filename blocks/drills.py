"""What an environment asks of its recovery drills."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from blocks.part import Part
from blocks.reference import Secret
from blocks.time_zone import TimeZone

Scenario = Literal["recovery-test", "database-loss", "service-outage", "region-loss", "total-loss"]

RTO_MINUTES: dict[Scenario, float] = {
    "recovery-test": 240,
    "database-loss": 30,
    "service-outage": 5,
    "region-loss": 120,
    "total-loss": 240,
}
"""What common runbooks promise for each."""


class Objective(BaseModel):
    """What one scenario may cost."""

    model_config = ConfigDict(extra="forbid")

    rto_minutes: float | None = Field(
        default=None, gt=0, description="Minutes from the disaster until the service is verified again."
    )
    rpo_minutes: float | None = Field(
        default=None, gt=0, description="How old the newest restored write may be at the moment of the disaster."
    )


class Drills(Part):
    """How recovery is drilled, and what it has to keep."""

    _block_type_name = "Recovery drills"
    _block_type_slug = "recovery-drills"
    _description = "How often recovery is drilled, and which objectives a drill has to keep."

    time_zone: TimeZone = Field(
        default="UTC", description="In which the quarterly drill begins at 09:00, as Europe/Berlin."
    )
    max_age_days: float = Field(default=92, gt=0, description="How old the newest drill that kept all may become.")
    objectives: dict[Scenario, Objective] = Field(default={}, description="Scenario → what differs for it.")
    newest_write: str = Field(
        default="",
        description="Query for the time, with its zone, of the newest write, asked in the restored copy; empty: the"
        " time of the backup counts.",
    )

    escrow: str = Field(
        default="",
        description="File that `backstop escrow` made, for drills of a total loss; may be a reference.",
    )
    escrow_identity: Secret | None = Field(default=None, description="Reference to a private key that opens it.")

    def rto_minutes(self, scenario: Scenario) -> float:
        return self._objective(scenario).rto_minutes or RTO_MINUTES[scenario]

    def rpo_minutes(self, scenario: Scenario, of_backups: float) -> float:
        """The scenario's own; else what the backups promise."""
        return self._objective(scenario).rpo_minutes or of_backups

    def _objective(self, scenario: Scenario) -> Objective:
        return self.objectives.get(scenario) or Objective()
