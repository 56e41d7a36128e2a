"""Whether a backup or a proof is due, by the environment's objectives."""

from datetime import datetime, timedelta

from pydantic import BaseModel

from blocks.backups import Backups
from tasks.catalogue import Backup, Catalogue

LOOK_MINUTES = 5
"""How often somebody looks."""
PROOF_AHEAD = timedelta(hours=6)


class Due(BaseModel):
    """What one environment's objectives ask for now."""

    backup: bool
    proof: str
    """Id of the backup to prove; empty when none is due."""
    reasons: list[str]
    broken: list[str]
    """Objectives that are not kept, or cannot be."""


def look_what_is_due(catalogue: Catalogue, policy: Backups, now: datetime) -> Due:
    """A backup that would be too old before the next look, and the time that making one takes, is due.

    One of a time yet to come keeps none from being made: else a clock that was wrong once would for years.
    """
    due = Due(backup=False, proof="", reasons=[], broken=[_ahead(one) for one in catalogue.yet_to_come(now)[-1:]])
    catalogue = catalogue.up_to(now)
    allowed = timedelta(minutes=policy.rpo_minutes)
    newest = catalogue.newest
    if newest is None:
        due.backup = True
        due.reasons.append("There is no backup yet.")
    else:
        takes = timedelta(seconds=newest.manifest.seconds)
        age = now - newest.dated
        due.backup = age + takes + timedelta(minutes=LOOK_MINUTES) >= allowed
        if due.backup:
            due.reasons.append(f"The newest backup is {_words(age)} old; {_words(allowed)} are allowed.")
        if age > allowed:
            due.broken.append(f"RPO: the newest backup is {_words(age)} old; {_words(allowed)} are allowed.")
        if takes + timedelta(minutes=LOOK_MINUTES) > allowed:
            due.broken.append(
                f"RPO: {_words(allowed)} cannot be kept in this way: a backup takes {_words(takes)},"
                f" and somebody looks every {LOOK_MINUTES} minutes."
            )
    _look_at_proofs(due, catalogue, policy, now)
    return due


def _look_at_proofs(due: Due, catalogue: Catalogue, policy: Backups, now: datetime) -> None:
    newest, proven, allowed = catalogue.newest, catalogue.newest_proven, timedelta(days=policy.proof_days)
    if newest is None:
        return
    age = now - proven.dated if proven else None
    if age is None or age + min(PROOF_AHEAD, allowed / 4) >= allowed:
        tried = any(proof.kind == "full" for proof in newest.proofs)
        if not tried:
            due.proof = newest.id
            due.reasons.append(f"The newest proven backup is {_words(age)} old." if age else "No backup is proven yet.")
        if age is None or age > allowed:
            due.broken.append(
                f"Proof: the newest proven backup is {_words(age)} old; {_words(allowed)} are allowed."
                if age
                else "Proof: no backup is proven."
            )


def _ahead(backup: Backup) -> str:
    return f"Clock: backup {backup.id} is of a time yet to come; until then it counts for nothing."


def _words(span: timedelta) -> str:
    minutes = span.total_seconds() / 60
    if minutes < 120:
        return f"{minutes:.0f} minutes"
    return f"{minutes / 60:.1f} hours" if minutes < 2880 else f"{minutes / 1440:.1f} days"
