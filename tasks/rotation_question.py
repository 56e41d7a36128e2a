"""Rotations and their way back, as they are put to approvers."""

from tasks.question import Effect, Question, fingerprint_of
from tasks.rotation_plan import RotationPlan


def question_of(plan: RotationPlan) -> Question:
    """What its approvers decide on."""
    made = [
        Effect(
            what=f"{secret.name}: {secret.effect}; written to {' and '.join(secret.sinks)}", undo="the old one again"
        )
        for secret in plan.secrets
    ]
    return Question(
        title=f"Rotate {plan.names} of {plan.environment}",
        fingerprint=plan.fingerprint,
        facts={"secrets": plan.names, "traffic now": ", ".join(plan.traffic.split) or "none"},
        effects=[
            *made,
            Effect(what="starts the release anew and stops every other", undo="the releases of before"),
            Effect(what="has every old one refused", undo="accepted again"),
        ],
    )


def question_of_rollback(environment: str) -> Question:
    """What the approvers of a rollback that somebody asked for decide on."""
    facts = {"return to": "the values of before the rotation that was left open"}
    return Question(
        title=f"Roll back the rotation of {environment}",
        fingerprint=fingerprint_of(facts),
        facts=facts,
        effects=[Effect(what="writes the old values to every sink and returns to the releases of before", undo="")],
    )
