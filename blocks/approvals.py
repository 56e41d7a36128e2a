"""Who has to agree before a procedure changes anything: a policy per environment and procedure."""

from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from blocks.approval_policy import APPROVER_NAME, Policy
from blocks.freeze import Freeze, describe_freeze
from blocks.part import Part
from blocks.time_zone import TimeZone

NEVER_ASKED = frozenset(
    {"recover", "back-up-database", "verify-backup", "import-dump", "backups-due", "dr-drill", "health-check"}
)
"""They make and prove backups, drill beside what is live, look, or put back what an approved run left behind."""

NOT_ASKED_UNLESS_NAMED = frozenset({"roll-back-deploy", "roll-back-rotation"})
"""A policy for everything is not meant for those that bring visitors back to what worked."""

Approver = Annotated[str, StringConstraints(to_lower=True, pattern=rf"^(?i:{APPROVER_NAME.pattern})$")]
Procedure = Annotated[str, StringConstraints(pattern=r"^[a-z]+(-[a-z]+)*$", max_length=60)]


class Rule(BaseModel):
    """What one procedure has of its own; the rest is as for all of them."""

    model_config = ConfigDict(extra="forbid")

    needed: int | None = Field(default=None, ge=0, le=10, description="How many different people have to agree.")
    approvers: list[Approver] | None = Field(default=None, max_length=100, description="Who may agree or reject.")
    open_hours: float | None = Field(default=None, ge=0.01, le=24 * 30, description="How long they are waited for.")
    break_glass: bool | None = Field(default=None, description="Whether one of them may let it through alone.")


class Approvals(Part):
    """Who has to agree before something is changed. Without it nobody is asked."""

    _block_type_name = "Approvals"
    _block_type_slug = "approvals"
    _description = "How many people have to agree before a procedure changes something, who they are, for how long."

    needed: int = Field(default=0, ge=0, le=10, description="How many different people have to agree; 0: nobody asks.")
    approvers: list[Approver] = Field(
        default_factory=list, max_length=100, description="Who may agree or reject; none: whoever is enrolled."
    )
    open_hours: float = Field(default=24, ge=0.01, le=24 * 30, description="How long they are waited for.")
    break_glass: bool = Field(
        default=True, description="Whether, in an incident, one of them may let it through alone, with a reason."
    )
    time_zone: TimeZone = Field(default="UTC", description="In which times are told, as Europe/Berlin.")
    procedures: dict[Procedure, Rule] = Field(
        default_factory=dict, description="Procedure → what differs for it, any of the first four above."
    )
    freezes: list[Freeze] = Field(
        default_factory=list, description="When nothing is changed unless somebody breaks the glass."
    )

    @field_validator("procedures")
    @classmethod
    def _can_be_asked(cls, rules: dict[str, Rule]) -> dict[str, Rule]:
        if never := sorted(NEVER_ASKED & rules.keys()):
            raise ValueError(f"{', '.join(never)}: never waits for an approval")
        return rules

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    def policy_for(self, procedure: str, now: datetime | None = None) -> Policy:
        """What holds for this procedure at that time."""
        rule = self.procedures.get(procedure) or Rule()
        if procedure in NEVER_ASKED or (procedure in NOT_ASKED_UNLESS_NAMED and rule.needed is None):
            return self._policy(rule, needed=0)
        frozen = describe_freeze(self.freezes, now or datetime.now(UTC))
        needed = self.needed if rule.needed is None else rule.needed
        return self._policy(rule, needed=max(needed, 1) if frozen else needed, frozen=frozen)

    def _policy(self, rule: Rule, needed: int, frozen: str = "") -> Policy:
        return Policy(
            needed=needed,
            approvers=self.approvers if rule.approvers is None else rule.approvers,
            open_hours=self.open_hours if rule.open_hours is None else rule.open_hours,
            break_glass=self.break_glass if rule.break_glass is None else rule.break_glass,
            frozen=frozen,
        )
