"""Delete the backups that the environment does not keep any more.

plan → (nothing, unless told to delete) → approval → monthly ones to cold storage → delete: manifests, then objects
"""

from typing import Annotated

from pydantic import Field

from blocks.environment import Environment
from flows.guards.approval import approved
from flows.guards.lock import locked
from flows.guards.parameters import RequestedBy
from flows.guards.procedure import procedure
from tasks.ledger import current_run, phase
from tasks.retention import (
    delete_backup,
    delete_leftovers,
    move_backup_to_cold,
    plan_pruning,
    publish_prune_plan,
    question_of,
    require_unchanged,
)

Delete = Annotated[bool, Field(description="Really delete; without it only the plan is shown.")]


@procedure("prune-backups", run_name="prune backups of {environment!s:.60}")
def prune_backups(
    environment: Environment,
    delete: Delete = False,
    requested_by: RequestedBy = "",
) -> str:
    """Keep the backups that the environment's retention names, the newest and the newest proven; delete the others."""
    with phase("plan"):
        plan = plan_pruning(environment)
        publish_prune_plan(plan)
    told = f"{len(plan.going)} of {len(plan.fates)} backups of {plan.environment}"
    if not delete:
        return f"{told} would be deleted. Nothing was changed."
    approved(environment, question_of(plan))

    with locked(environment, aspect="backups"):
        require_unchanged(plan, plan_pruning(environment))
        cold = [fate.backup for fate in plan.going_cold if move_backup_to_cold(environment, fate.backup)]
        for fate in plan.going:
            delete_backup(environment, fate.backup)
        if plan.leftovers:
            delete_leftovers(environment, plan.leftovers)
    current_run().facts["pruned"] = [fate.backup for fate in plan.going]
    return f"{told} were deleted, {len(cold)} are in cold storage, {len(plan.leftovers)} leftover objects are gone."
