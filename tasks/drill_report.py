"""What a drill came to: its evidence as data, and in a sentence."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, computed_field

from blocks.drills import Scenario

Verdict = Literal["kept", "broken", "failed", "could not run"]
"""Failed: nothing was recovered. Broken: it was, but later, or older, than was promised."""


class Phase(BaseModel):
    """A part of the drill."""

    name: str
    began: float
    """Seconds after the drill began."""
    seconds: float
    counts: bool = False
    """Whether it lies between the disaster and the recovery."""


class Finding(BaseModel):
    """Something that went wrong, for somebody to own."""

    what: str
    owner: str = ""


class SteadyState(BaseModel):
    """How things stand, measured in the same way before and after."""

    of: str
    """What was measured, in words."""
    tables: int
    rows: int
    content_sha256: str = ""
    """Over every table's name and digest; empty where it was not taken."""
    passed: list[str] = []
    """Names of the checks that passed on the application; empty where none ran then."""


class Promise(BaseModel):
    """An objective, and what was measured against it."""

    allowed_seconds: float
    measured_seconds: float | None = None
    how: str = ""
    """How it was measured, where that is not plain."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> Literal["kept", "broken", "not measured"]:
        if self.measured_seconds is None:
            return "not measured"
        return "kept" if self.measured_seconds <= self.allowed_seconds else "broken"


class Estimate(BaseModel):
    """What the same recovery would take with the newest backup, where a smaller one was drilled."""

    backup: str
    """The newest."""
    times_as_large: float
    seconds: float


class DrillReport(BaseModel):
    """The evidence of one drill."""

    format: Literal[1] = 1
    run_id: str
    environment: str
    scenario: Scenario
    requested_by: str
    began_at: datetime
    disaster_at: datetime | None
    seconds: float
    backup: str
    release: str
    isolation: str
    """What kept the application from reaching out."""
    read_from: str = ""
    """Where the backup was read from."""
    phases: list[Phase]
    rto: Promise
    rpo: Promise
    estimate: Estimate | None = None
    """None where what was restored is about as large as the newest backup."""
    before: SteadyState | None
    after: SteadyState | None
    verdict: Verdict
    findings: list[Finding]
    trail_before: str
    """Hash of the audit trail's head when the drill began: this evidence belongs behind it."""


def in_words(seconds: float) -> str:
    """As 5.2 s, 34 minutes, 6.5 hours, 12.0 days."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 172800 else f"{seconds / 86400:.1f} days"


def in_short(report: DrillReport) -> str:
    """The drill in a sentence or two, for message, notice and status."""
    title = f"The drill {report.scenario} of {report.environment}"
    if report.verdict in ("failed", "could not run"):
        return f"{title} {report.verdict}: {' '.join(finding.what for finding in report.findings[:3])}"
    rto, rpo = report.rto, report.rpo
    measured = (
        f"recovered and verified in {in_words(rto.measured_seconds or 0)} ({in_words(rto.allowed_seconds)} are"
        f" allowed), {in_words(rpo.measured_seconds or 0)} of writes lost ({in_words(rpo.allowed_seconds)} are allowed)"
    )
    return f"{title} {'kept its objectives' if report.verdict == 'kept' else 'broke an objective'}: {measured}."
