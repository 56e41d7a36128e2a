"""Restores of tables and their undo, as they are put to approvers."""

from tasks.question import Effect, Question, fingerprint_of
from tasks.table_restore.model import TableRestorePlan
from tasks.table_restore.write import Change


def question_of(plan: TableRestorePlan, accept_loss: str) -> Question:
    """What its approvers decide on."""
    titles = ", ".join(table.title for table in plan.tables)
    beside = Effect(what=f"restores {titles} into schema {plan.restored}", undo="the schema is dropped")
    writing = Effect(
        what=f"{plan.mode}s rows of {titles} in {plan.database}",
        undo=f"put back from schema {plan.before}, unless somebody changed them since",
    )
    return Question(
        title=f"Restore tables of {plan.backup.id} in {plan.environment}",
        fingerprint=plan.fingerprint,
        facts={
            "backup taken at": f"{plan.backup.taken_at:%Y-%m-%d %H:%M:%S %Z}",
            "tables": titles,
            "mode": plan.mode,
            "loss accepted by who asks": accept_loss or "none",
        },
        effects=[beside] if plan.mode == "beside" else [beside, writing],
        losses=[str(loss) for loss in plan.losses],
    )


def question_of_undo(environment: str, change: Change, accept_loss: str) -> Question:
    """What the approvers of putting the rows back decide on."""
    facts = {
        "changed by run": change.run_id,
        "tables": ", ".join(table.title for table in change.tables),
        "loss accepted by who asks": accept_loss or "none",
    }
    return Question(
        title=f"Undo the restore of tables in {environment}",
        fingerprint=fingerprint_of(facts),
        facts=facts,
        effects=[Effect(what=f"puts the rows of schema {change.before} back", undo="the same restore again")],
        losses=[f"what was written since, in: {accept_loss}"] if accept_loss else [],
    )
