"""Rotations and their way back, as they are put to approvers."""

from collections.abc import Iterator

from tasks.question import Effect, Question, fingerprint_of
from tasks.rotation_plan import PlannedSecret, RotationPlan

_NEVER = "none: the old one has leaked"


def question_of(plan: RotationPlan) -> Question:
    """What its approvers decide on."""
    return Question(
        title=plan.title,
        fingerprint=plan.fingerprint,
        facts={"secrets": plan.names, "traffic now": ", ".join(plan.traffic.split) or "none"},
        effects=list(_effects_after_a_breach(plan) if plan.emergency else _effects(plan)),
    )


def question_of_rollback(environment: str, emergency: bool) -> Question:
    """What the approvers of a rollback that somebody asked for decide on."""
    if emergency:
        title, facts = "Finish the rotation", {"go on with": "the rotation after a breach that was left open"}
        what = "has the old values refused, writes new ones to every sink and starts the release anew"
    else:
        title, facts = "Roll back the rotation", {"return to": "the values of before the rotation that was left open"}
        what = "writes the old values to every sink and returns to the releases of before"
    return Question(
        title=f"{title} of {environment}",
        fingerprint=fingerprint_of(facts),
        facts=facts,
        effects=[Effect(what=what, undo="")],
    )


def _effects(plan: RotationPlan) -> Iterator[Effect]:
    for secret in plan.secrets:
        yield Effect(what=f"{secret.name}: {secret.effect}; {_written(secret)}", undo="the old one again")
        yield from _disabled(secret, "enabled again")
    yield Effect(what="starts the release anew and stops every other", undo="the releases of before")
    what = "the previous ones" if plan.retire_previous else "every old one, unless it is said that it stays accepted,"
    yield Effect(what=f"has {what} refused", undo="accepted again")


def _effects_after_a_breach(plan: RotationPlan) -> Iterator[Effect]:
    for secret in plan.secrets:
        yield Effect(what=f"{secret.name}: has the old one refused at once; {secret.effect}", undo=_NEVER)
        yield from (
            Effect(what=f"{secret.name}: interrupts {one}", undo="it has the new one") for one in secret.interrupted
        )
        yield Effect(what=f"{secret.name}: a new one is {_written(secret)}", undo=_NEVER)
        yield from _disabled(secret, _NEVER)
    yield Effect(what="starts the release anew and stops every other", undo="none")


def _disabled(secret: PlannedSecret, undo: str) -> Iterator[Effect]:
    if secret.versions:
        yield Effect(what=f"{secret.name}: disables its refused versions of {' and '.join(secret.versions)}", undo=undo)


def _written(secret: PlannedSecret) -> str:
    sinks = [f"{named}, which cannot be read back," if named in secret.marks else named for named in secret.sinks]
    return f"written to {' and '.join(sinks)}".rstrip(",")
