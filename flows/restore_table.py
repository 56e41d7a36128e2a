"""Bring back the rows of single tables out of a backup: beside the live ones, compared, then merged or in their place.

plan → approval → lock → restore beside → compare ─┬─ beside: kept, nothing live is touched
                                                   └─ merge, replace: one transaction → verify
                  └── on any failure: the rows as they were, the schema of the restored ones dropped ──┘
"""

from typing import Annotated

from pydantic import Field

from blocks.environment import Environment
from flows.guards.approval import approved
from flows.guards.armed import armed, finished_by
from flows.guards.lock import locked
from flows.guards.parameters import FilledInByRun, RequestedBy
from flows.guards.procedure import procedure
from tasks.armed_undo import finished
from tasks.health import verify_answers
from tasks.ledger import current_run, phase
from tasks.table_restore.compare import Comparison, compare_tables, publish_comparison
from tasks.table_restore.load import drop_restored, restore_tables_beside
from tasks.table_restore.model import Mode, TableRestorePlan
from tasks.table_restore.page import publish_table_plan
from tasks.table_restore.plan import plan_table_restore, require_possible
from tasks.table_restore.question import question_of, question_of_undo
from tasks.table_restore.write import Change, change_of, find_last_change, put_rows_back, write_rows_of_backup

Tables = Annotated[
    str,
    Field(min_length=1, max_length=4000, description='Tables, by commas, as public.tasks or "Mixed Case"."Order".'),
]
Which = Annotated[str, Field(max_length=64, description="Id of the backup; `latest` for the newest proven one.")]
At = Annotated[str, Field(max_length=40, description="Newest proven backup not after this time, as 2026-11-21T02:00Z.")]
How = Annotated[
    Mode,
    Field(
        description="`beside` touches nothing live; `merge` inserts the rows that are missing; `replace` makes the rows"
        " those of the backup."
    ),
]
AcceptLoss = Annotated[
    str,
    Field(max_length=4000, description="Tables, by commas, whose rows may be changed or taken away; see the plan."),
]
PlanOnly = Annotated[bool, Field(description="Show the plan and change nothing.")]
Done = Annotated[Change | None, FilledInByRun, Field(description="Filled in by a restore's own rollback; leave empty.")]


@procedure("restore-table", run_name="restore tables of {environment!s:.60}")
def restore_table(  # noqa: PLR0913, PLR0917 (they are the fields of its form)
    environment: Environment,
    tables: Tables,
    backup: Which = "latest",
    at: At = "",
    mode: How = "beside",
    accept_loss: AcceptLoss = "",
    plan_only: PlanOnly = False,
    requested_by: RequestedBy = "",
) -> str:
    """Bring rows of single tables back; live rows change only where it was asked for, and none without being named."""
    with phase("plan"):
        plan = plan_table_restore(environment, tables, backup, at, mode)
        publish_table_plan(plan)
    if plan_only:
        return f"Plan {plan.fingerprint} was made. Nothing was changed."
    require_possible(plan, accept_loss)
    approved(environment, question_of(plan, accept_loss))

    with locked(environment):
        undo = {"schema": plan.restored, "run_id": current_run().id}
        with armed(discard_restored_tables, f"the schema {plan.restored}", **undo):
            with phase("restore"):
                restore_tables_beside(environment, plan)
            with phase("compare"):
                comparisons = compare_tables(environment, plan)
                publish_comparison(plan, comparisons)
            if plan.mode == "beside":
                return _found(plan, comparisons)
            change = change_of(plan)
            with armed(undo_restore_table, f"the rows of {tables}", change=change.model_dump()):
                with phase(plan.mode):
                    told = write_rows_of_backup(environment, plan, change, accept_loss)
                with phase("verify service"):
                    verify_answers(environment.service)
    return " ".join([*told, f"The rows of before are kept in schema {plan.before}; undo-restore-table puts them back."])


@procedure("undo-restore-table", run_name="undo the restore of tables of {environment!s:.60}")
def undo_restore_table(
    environment: Environment,
    accept_loss: AcceptLoss = "",
    change: Done = None,
    requested_by: RequestedBy = "",
) -> str:
    """Put the rows back that the last merge or replacement changed, unless somebody changed them since."""
    change = change or find_last_change(environment)
    approved(environment, question_of_undo(environment.environment, change, accept_loss))
    titles = ", ".join(table.title for table in change.tables)
    own = {"change": change.model_dump(), "accept_loss": accept_loss}
    with locked(environment), finished_by(undo_restore_table, f"the rows of {titles}", **own):
        was_written = put_rows_back(environment, change, accept_loss)
        verify_answers(environment.service)
        told = f"The rows of {titles} are as before." if was_written else f"No row of {titles} had been changed."
        return finished("undo-restore-table", told)


@procedure("discard-restored-tables", run_name="discard restored tables of {environment!s:.60}")
def discard_restored_tables(environment: Environment, schema: str, run_id: str) -> str:
    """Drop the schema that a restore of tables made beside the live ones."""
    with locked(environment):
        drop_restored(environment, schema, run_id)
    return f"There is no schema {schema}."


def _found(plan: TableRestorePlan, comparisons: list[Comparison]) -> str:
    kept = f"The rows of {plan.backup.id} are in schema {plan.restored} of {plan.database}; nothing live was touched."
    return " ".join([kept, *map(str, comparisons)])
