"""Restores and their undo, as they are put to approvers."""

from tasks.clone_plan import ClonePlan
from tasks.question import Effect, Question, fingerprint_of
from tasks.restore_plan import RestorePlan
from tasks.restore_switch import SwitchBefore


def question_of(plan: RestorePlan, accept_loss: str) -> Question:
    """What its approvers decide on."""
    live = plan.live.name
    on = f" on the server {plan.instance}" if plan.moves else ""
    switched = f"variable {plan.variable} points to {plan.new_name}" if plan.variable else f"it takes the name {live}"
    return Question(
        title=f"Restore {plan.backup.id} into {plan.environment}",
        fingerprint=plan.fingerprint,
        facts={
            "backup taken at": f"{plan.backup.taken_at:%Y-%m-%d %H:%M:%S %Z}",
            "backup proven": "yes" if plan.proven else "no",
            "live database": f"{live} ({plan.live.oid})" if plan.is_live_there else f"{live} is gone",
            **({"server": f"{plan.instance} instead of {plan.live_instance}"} if plan.moves else {}),
            "loss accepted by who asks": accept_loss or "none",
        },
        effects=[
            Effect(what="stops all writes: the service is down meanwhile", undo="writes go on as before"),
            Effect(what=f"restores into the new database {plan.new_name}{on}", undo="the new database is dropped"),
            Effect(what=f"{switched}; the present one is kept", undo="switched back, unless that would lose writes"),
        ],
        losses=_losses(plan),
    )


def question_of_clone(plan: ClonePlan, accept_loss: str) -> Question:
    """What its approvers decide on."""
    live = plan.live.name
    return Question(
        title=f"Bring {plan.environment} back to {plan.moment}",
        fingerprint=plan.fingerprint,
        facts={
            "point in time": plan.moment,
            "cloned": f"{plan.source}, as {plan.clone}",
            "live database": f"{live} ({plan.live.oid})" if plan.is_live_there else f"{live} is gone",
            "loss accepted by who asks": accept_loss or "none",
        },
        effects=[
            Effect(what=f"clones {plan.source} as {plan.clone}", undo="none: it stays until somebody deletes it"),
            Effect(what="stops all writes: the service is down for the switch", undo="writes go on as before"),
            Effect(
                what=f"variable {plan.variable} points to {plan.clone}; {plan.source} is kept",
                undo="switched back, unless that would lose writes",
            ),
        ],
        losses=[f"what was written since {plan.moment}, in: {accept_loss}"] if accept_loss else [],
    )


def question_of_undo(environment: str, before: SwitchBefore, accept_loss: str) -> Question:
    """What the approvers of a switch back decide on."""
    facts = {
        "restored from": before.backup,
        "live again": f"{before.kept} ({before.live_oid})" if before.live_oid else f"none: {before.live} was gone",
        **({"server": f"{before.live_instance} instead of {before.instance}"} if before.moves else {}),
        "loss accepted by who asks": accept_loss or "none",
    }
    return Question(
        title=f"Undo the restore of {before.backup} in {environment}",
        fingerprint=fingerprint_of(facts),
        facts=facts,
        effects=[
            Effect(what="stops all writes: the service is down meanwhile", undo="writes go on as before"),
            Effect(what=f"makes {before.kept} the live database again", undo="another restore of the same backup"),
        ],
        losses=[f"what was written since the restore, in: {accept_loss}"] if accept_loss else [],
    )


def _losses(plan: RestorePlan) -> list[str]:
    if plan.losses is None:
        return ["unknown: the present database cannot be read"]
    more = ["what visitors go on writing to these tables until writes stop"] if plan.losses else []
    return [*map(str, plan.losses), *more]
