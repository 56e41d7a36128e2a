"""Migrate the database with a backup behind it, as it was rehearsed; or put all back.

plan and rehearse on a proven backup → approval → lock → [stop writes] → backup → apply → verify → writes on → smoke
                                                              └── on any failure: the way back that loses nothing ──┘
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from blocks.environment import Environment
from blocks.errors import BackstopError, Refused
from blocks.migrations.interface import Workspace
from blocks.postgres.connection import with_database
from blocks.postgres.schema import schema_digest
from flows.guards.approval import approved
from flows.guards.armed import armed, finished_by
from flows.guards.lock import locked
from flows.guards.parameters import FilledInByRun, RequestedBy
from flows.guards.procedure import procedure
from flows.restore_and_verify import AcceptLoss, restore_as_planned, resume_writes
from tasks.armed_undo import finished
from tasks.backup import plan_backup, write_backup
from tasks.health import verify_answers, verify_release, verify_service
from tasks.ledger import current_run, phase
from tasks.live_database import read_live, restore_url
from tasks.migration import (
    MigrationBefore,
    Way,
    apply_migrations,
    choose_way_back,
    drop_invalid_indexes,
    find_last_migration,
    mark_rolled_back,
    migration_before,
    question_of_way_back,
    revert_migrations,
    verify_migrated,
    verify_schema_before,
)
from tasks.migration_plan import (
    MigrationPlan,
    find_commit,
    plan_migration,
    publish_migration_plan,
    question_of,
    read_live_schema,
    require_possible,
)
from tasks.migration_workspace import checked_out, tool_of
from tasks.notice import announce
from tasks.restore_plan import plan_restore
from tasks.restore_plan import require_possible as require_restorable
from tasks.server_session import read_live_database
from tasks.traffic import read_main_release
from tasks.version import MOST_CHARACTERS, PATTERN, check_version
from tasks.writes import enter_maintenance, leave_maintenance, open_database, stop_writes

Version = Annotated[
    str,
    AfterValidator(check_version),
    Field(
        description="Release whose migrations are meant, as v1.2.0.",
        json_schema_extra={"pattern": PATTERN, "maxLength": MOST_CHARACTERS},
    ),
]
Commit = Annotated[
    str,
    Field(
        description="Its commit, where it is not tagged yet.",
        json_schema_extra={"pattern": f"^$|{PATTERN}", "maxLength": MOST_CHARACTERS},
    ),
]
StopWrites = Annotated[
    Literal["auto", "yes", "no"],
    Field(description="Whether nobody may write meanwhile; auto: where the rehearsal shows that somebody would wait."),
]
PlanOnly = Annotated[bool, Field(description="Show the plan and change nothing.")]
Before = Annotated[
    MigrationBefore | None, FilledInByRun, Field(description="Filled in by a migration's own rollback; leave empty.")
]


@procedure("migrate-with-backup", run_name="migrate {environment!s:.60} to {version!s:.64}")
def migrate_with_backup(
    environment: Environment,
    version: Version,
    commit: Commit = "",
    stop_writes: StopWrites = "auto",
    plan_only: PlanOnly = False,
    requested_by: RequestedBy = "",
) -> str:
    """Bring the schema to what a release needs; if it fails, nothing of it stays and no write is lost."""
    with phase("plan and rehearse"):
        plan = plan_migration(environment, version, find_commit(environment, version, commit), stop_writes)
        publish_migration_plan(plan, "plan")
    current_run().facts.update(version=version, plan=plan.fingerprint)
    if plan_only:
        return f"Plan {plan.fingerprint} was made. Nothing was changed."
    require_possible(plan)
    if not plan.pending:
        return f"Nothing is pending: {plan.environment} is at {plan.status.revision or 'no revision'}."
    approved(environment, question_of(plan))
    with locked(environment), migrated(environment, plan):
        pass
    message = f"{plan.environment} has the schema of {version}: {', '.join(one.id for one in plan.pending)} applied."
    announce(environment, f"{plan.environment} was migrated", message)
    return message


@procedure("roll-back-migration", run_name="roll the migration of {environment!s:.60} back")
def roll_back_migration(
    environment: Environment,
    accept_loss: AcceptLoss = "",
    before: Before = None,
    requested_by: RequestedBy = "",
) -> str:
    """Take a migration back by the way that loses nothing, and say which and why; else ask for a human."""
    before = before or find_last_migration(environment)
    approved(environment, question_of_way_back(environment.environment, before, accept_loss))
    own = {"accept_loss": accept_loss, "before": before.model_dump()}
    with (
        locked(environment),
        finished_by(roll_back_migration, f"the way back from {before.version}", **own),
        checked_out(environment, before.commit) as workspace,
    ):
        with phase("choose the way back"):
            status = tool_of(environment).read_status(workspace)
            way = choose_way_back(environment, before, status)
        _go(environment, workspace, before, way, accept_loss)
        if status.failed and way.how in ("nothing", "drop invalid indexes"):
            mark_rolled_back(environment, workspace, status.failed)
        open_database(environment, read_live_database(environment).oid, before.may_connect)
        leave_maintenance(environment)
        verify_answers(environment.service)
        told = f"The migration to {before.version} was taken back ({way.how}: {way.why})."
        return finished("roll-back-migration", told)


@contextmanager
def migrated(environment: Environment, plan: MigrationPlan) -> Iterator[None]:
    """Inside, the schema is the release's, with a backup behind it. On any failure it is taken back."""
    with checked_out(environment, plan.commit) as workspace:
        _confirm_unchanged(environment, workspace, plan)
        announce(environment, f"Migrating {plan.environment} to {plan.version}", f"Writes: {plan.why}.")
        live = read_live_database(environment)
        planned = plan_backup(environment, f"before {plan.version}", schema_only=False)
        with _writes_resumed_on_failure(environment, plan, live.oid, live.may_connect):
            if plan.stops_writes:
                with phase("stop writes"):
                    enter_maintenance(environment)
                    stop_writes(environment, live.oid)
            with phase("back up"):
                backup = write_backup(environment, planned, _url_for_backup(environment, plan, live.name))
            schema_before = read_live_schema(environment)
            before = migration_before(plan, backup.id, environment, live.may_connect)
            with armed(roll_back_migration, f"the schema of {live.name}", before=before.model_dump()):
                with phase("apply"):
                    apply_migrations(environment, workspace, before)
                with phase("verify"):
                    verify_migrated(environment, workspace, plan, before, schema_before)
                open_database(environment, live.oid, sorted(live.may_connect))
                with phase("smoke"):
                    _smoke(environment, plan)
                yield


def _url_for_backup(environment: Environment, plan: MigrationPlan, name: str) -> str:
    """With writes stopped, nobody but the restoring role can connect. Empty: the backup's own."""
    return with_database(restore_url(environment), name) if plan.stops_writes else ""


def _smoke(environment: Environment, plan: MigrationPlan) -> None:
    """Where writes were stopped, first at the release's own address: visitors are not let in yet."""
    release = read_main_release(environment.platform)
    if plan.stops_writes and release and release.url:
        verify_release(environment.service, release)
    leave_maintenance(environment)
    verify_service(environment.service)


def _writes_resumed_on_failure(
    environment: Environment, plan: MigrationPlan, oid: int, may_connect: set[str]
) -> AbstractContextManager[None]:
    if not plan.stops_writes:
        return nullcontext()
    access = {"oid": oid, "may_connect": sorted(may_connect), "instance": read_live(environment).instance}
    return armed(resume_writes, f"access to the database of {plan.environment}", **access)


def _confirm_unchanged(environment: Environment, workspace: Workspace, plan: MigrationPlan) -> None:
    """Raises Refused when somebody migrated since the plan was made."""
    status, schema = tool_of(environment).read_status(workspace), schema_digest(read_live_schema(environment))
    if status != plan.status or schema != plan.live_schema_sha256:
        raise Refused(
            f"{plan.environment} is not what plan {plan.fingerprint} was made for: somebody has migrated it since.",
            "Start again: the new plan will be made for what is there now. Nothing was changed.",
        )


def _go(environment: Environment, workspace: Workspace, before: MigrationBefore, way: Way, accept_loss: str) -> None:
    """Raises BackstopError where only a human can decide."""
    if way.how == "drop invalid indexes":
        drop_invalid_indexes(environment, before)
        verify_schema_before(environment, before)
    elif way.how == "down-migrations":
        with phase("down-migrations"):
            revert_migrations(environment, workspace, before)
            verify_schema_before(environment, before)
    elif way.how == "restore":
        _restore(environment, before, everything=True)
    elif way.how == "human":
        if not accept_loss:
            raise BackstopError(
                f"The migration to {before.version} was not taken back: {way.why}.",
                "Mend it forward; or start roll-back-migration with accept_loss, naming what may be lost:"
                f" it restores {before.backup}.",
            )
        _restore(environment, before, accept_loss)


def _restore(
    environment: Environment, before: MigrationBefore, accept_loss: str = "", everything: bool = False
) -> None:
    plan = plan_restore(environment, before.backup, "")
    require_restorable(plan, proven=False)  # every row is compared before it becomes live
    if everything:  # nobody has written since: what differs is the migration's own
        accept_loss = ",".join(loss.table for loss in plan.losses) if plan.losses is not None else "unknown"
    restore_as_planned(environment, plan, accept_loss, before.may_connect if everything else None)
