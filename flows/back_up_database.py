"""Back a database up: dumped, compressed, encrypted and stored in one stream; without its manifest it is no backup.

plan → one backup at a time → snapshot → dump ═ compress ═ encrypt ═ store → manifest
"""

from typing import Annotated

from pydantic import Field

from blocks.environment import Environment
from flows.guards.lock import locked
from flows.guards.parameters import RequestedBy
from flows.guards.procedure import procedure
from tasks.backup import plan_backup, publish_backup_plan, sweep_unfinished, write_backup
from tasks.ledger import current_run, phase
from tasks.transfer_progress import in_words

Label = Annotated[str, Field(max_length=100, description="Why it is made, as before-migration; may stay empty.")]
SchemaOnly = Annotated[bool, Field(description="The schema without any rows. No proof and no restore takes it.")]
PlanOnly = Annotated[bool, Field(description="Show the plan and change nothing.")]


@procedure("back-up-database", run_name="back up {environment!s:.60}")
def back_up_database(
    environment: Environment,
    label: Label = "",
    schema_only: SchemaOnly = False,
    plan_only: PlanOnly = False,
    requested_by: RequestedBy = "",
) -> str:
    """Write a complete backup of the database to the environment's store."""
    with phase("plan"):
        plan = plan_backup(environment, label, schema_only)
        publish_backup_plan(plan)
    if plan_only:
        return "The plan was made. Nothing was changed."

    with locked(environment, aspect="backups"):
        with phase("sweep"):
            sweep_unfinished(environment)
        with phase("dump and store"):
            backup = write_backup(environment, plan)

    current_run().facts["backup"] = backup.model_dump(mode="json", exclude={"tables", "sequences", "members"})
    return (
        f"Backup {backup.id} of {plan.environment}: {len(backup.tables)} tables, {backup.rows} rows,"
        f" {in_words(backup.content_bytes)} in {in_words(backup.stored_bytes)}, {backup.seconds:.1f} s."
    )
