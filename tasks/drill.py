"""One recovery drill that goes on: what is measured meanwhile."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from blocks.drills import Drills, Scenario
from blocks.environment import Environment
from blocks.errors import BackstopError
from blocks.ledger.trail import GENESIS
from tasks.catalogue import Backup
from tasks.drill_estimate import estimate_for_newest
from tasks.drill_report import DrillReport, Estimate, Finding, Phase, Promise, SteadyState, Verdict, in_words
from tasks.ledger import current_run
from tasks.ledger import phase as told_phase

CLOCKS_SECONDS = 300
"""By how much a write may seem to come after the disaster: two machines' clocks."""


class DrillFailed(BackstopError):
    """The recovery did not succeed, or not as promised."""

    hint = "Mend what the findings name, then drill again: the environment is not ready until a drill passes."


@dataclass
class Drill:
    """What is known of a drill that goes on."""

    environment: Environment
    scenario: Scenario
    trail_before: str = GENESIS
    backup: Backup | None = None
    newest: Backup | None = None
    """Whether or not it is the one that is restored."""
    version: str = ""
    isolation: str = ""
    read_from: str = ""
    """Where the backup comes from, in words."""
    phases: list[Phase] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    before: SteadyState | None = None
    after: SteadyState | None = None
    newest_write: datetime | None = None
    rpo_how: str = ""
    disaster_at: datetime | None = None
    began_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    _began: float = field(default_factory=time.monotonic)
    _disaster: float | None = None
    _recovered: float | None = None

    @property
    def policy(self) -> Drills:
        return self.environment.drills or Drills()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """A part of the drill, told in the trail as it begins and measured also where it fails."""
        began = time.monotonic()
        try:
            with told_phase(name):
                yield
        finally:
            counts = self._disaster is not None and self._recovered is None
            seconds = time.monotonic() - began
            self.phases.append(Phase(name=name, began=began - self._began, seconds=seconds, counts=counts))

    def strike(self) -> None:
        """From now on it counts: the pretended disaster."""
        self._disaster, self.disaster_at = time.monotonic(), datetime.now(UTC)
        self.newest_write = None  # what a stand-in held is not what comes back

    def is_too_late(self) -> bool:
        """Whether the time is over within which the service had to be back."""
        allowed = self.policy.rto_minutes(self.scenario) * 60
        return self._disaster is not None and time.monotonic() - self._disaster > allowed

    def recover(self) -> None:
        """Until now it counted: the service was verified again."""
        self._recovered = time.monotonic()

    def report(self, verdict: Verdict | None = None) -> DrillReport:
        """What it has come to; without a verdict, by what was measured."""
        rto, rpo = self._rto(), self._rpo()
        made = verdict or ("failed" if self.findings else _judged(rto, rpo))
        run = current_run()
        return DrillReport(
            run_id=run.id,
            environment=self.environment.environment,
            scenario=self.scenario,
            requested_by=run.requested_by,
            began_at=self.began_at,
            disaster_at=self.disaster_at,
            seconds=round(time.monotonic() - self._began, 2),
            backup=self.backup.id if self.backup else "",
            release=self.version,
            isolation=self.isolation,
            read_from=self.read_from,
            phases=[_rounded(phase) for phase in self.phases],
            rto=rto,
            rpo=rpo,
            estimate=self._estimate(),
            before=self.before,
            after=self.after,
            verdict=made,
            findings=[Finding(what=what) for what in [*self.findings, *_broken(rto, "RTO"), *_broken(rpo, "RPO")]],
            trail_before=self.trail_before,
        )

    def _rto(self) -> Promise:
        allowed = self.policy.rto_minutes(self.scenario) * 60
        if self._disaster is None or self._recovered is None:
            return Promise(allowed_seconds=allowed)
        return Promise(allowed_seconds=allowed, measured_seconds=round(self._recovered - self._disaster, 2))

    def _estimate(self) -> Estimate | None:
        if self.backup is None or self.newest is None or self._recovered is None:
            return None
        return estimate_for_newest(self.phases, self.backup.manifest, self.newest.manifest)

    def _rpo(self) -> Promise:
        allowed = self.policy.rpo_minutes(self.scenario, self.environment.backups.rpo_minutes) * 60
        if self.newest_write is None or self.disaster_at is None:
            return Promise(allowed_seconds=allowed, how=self.rpo_how)
        age = (self.disaster_at - self.newest_write).total_seconds()
        if age < -CLOCKS_SECONDS:
            how = f"{self.rpo_how}: it lies {-age:.0f} s after the disaster, so a clock is wrong"
            return Promise(allowed_seconds=allowed, how=how)
        return Promise(allowed_seconds=allowed, measured_seconds=round(max(age, 0), 2), how=self.rpo_how)


def _judged(rto: Promise, rpo: Promise) -> Verdict:
    verdicts = {rto.verdict, rpo.verdict}
    if "not measured" in verdicts:
        return "failed"
    return "broken" if "broken" in verdicts else "kept"


def _broken(promise: Promise, name: str) -> list[str]:
    if promise.measured_seconds is not None and promise.verdict == "broken":
        return [f"{name}: {in_words(promise.measured_seconds)}; {in_words(promise.allowed_seconds)} are allowed."]
    return []


def _rounded(phase: Phase) -> Phase:
    return phase.model_copy(update={"began": round(phase.began, 3), "seconds": round(phase.seconds, 3)})
