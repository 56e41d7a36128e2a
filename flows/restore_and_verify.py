"""Restore a backup beside the live database, prove it there, and let it take the live one's name; or put all back.

plan → approval → lock → stop writes → new database → restore → compare → settings → switch → writes on → verify
                                └──── on any failure: names and access as before, the new database dropped ────┘
"""

from typing import Annotated

from pydantic import Field

from blocks.environment import Environment
from flows.guards.approval import approved
from flows.guards.armed import armed, finished_by
from flows.guards.lock import locked
from flows.guards.parameters import FilledInByRun, RequestedBy
from flows.guards.procedure import procedure
from tasks.catalogue import find_backup
from tasks.health import verify_answers, verify_service
from tasks.ledger import complete, finished, may_complete, phase
from tasks.notice import announce
from tasks.restart import restart_release, return_to_releases
from tasks.restore import (
    carry_over_settings,
    create_new_database,
    drop_new_database,
    restore_into_new,
    verify_restored,
)
from tasks.restore_plan import (
    LossNotAccepted,
    RestorePlan,
    plan_restore,
    publish_restore_plan,
    read_losses,
    require_accepted,
    require_possible,
)
from tasks.restore_question import question_of, question_of_undo
from tasks.restore_switch import (
    SwitchBefore,
    exchange_names,
    exchange_names_back,
    find_last_switch,
    is_switched,
    point_application,
    read_live_oid,
    require_as_planned,
    require_same_live,
    switch_before,
)
from tasks.traffic import serves_visitors
from tasks.writes import enter_maintenance, leave_maintenance, open_database, stop_writes

Which = Annotated[str, Field(max_length=64, description="Id of the backup; `latest` for the newest proven one.")]
At = Annotated[str, Field(max_length=40, description="Newest proven backup not after this time, as 2026-11-21T02:00Z.")]
AcceptLoss = Annotated[
    str,
    Field(max_length=4000, description="Tables, by commas, whose writes since the backup may be lost; see the plan."),
]
PlanOnly = Annotated[bool, Field(description="Show the plan and change nothing.")]
Before = Annotated[
    SwitchBefore | None, FilledInByRun, Field(description="Filled in by a restore's own rollback; leave empty.")
]


@procedure("restore-and-verify", run_name="restore {backup!s:.40} into {environment!s:.60}")
def restore_and_verify(
    environment: Environment,
    backup: Which = "latest",
    at: At = "",
    accept_loss: AcceptLoss = "",
    plan_only: PlanOnly = False,
    requested_by: RequestedBy = "",
) -> str:
    """Bring the data of a backup back; the database of before is kept, and no write is lost unless it was named."""
    with phase("plan"):
        plan = plan_restore(environment, backup, at)
        publish_restore_plan(plan)
    if plan_only:
        return f"Plan {plan.fingerprint} was made. Nothing was changed."
    require_possible(plan)
    require_accepted(plan.losses, accept_loss, plan.backup.taken_at)
    approved(environment, question_of(plan, accept_loss))

    with locked(environment):
        require_as_planned(environment, plan)
        announce(environment, f"Restoring {plan.backup.id} into {plan.environment}", "The service is down meanwhile.")
        before, left = restore_as_planned(environment, plan, accept_loss)
    if serves_visitors(environment):
        with phase("smoke"):
            verify_service(environment.service)
    else:
        left.append("No release has traffic, so no service was looked at: deploy one.")

    kept = f" the database of before is kept as {plan.kept_name}." if plan.is_live_there else ""
    message = f"{plan.backup.id} is live in {plan.environment} as {before.restored};{kept}".rstrip(";")
    announce(environment, f"{plan.environment} was restored", message)
    return " ".join([message, *left])


@procedure("undo-restore", run_name="undo the restore of {environment!s:.60}")
def undo_restore(
    environment: Environment,
    accept_loss: AcceptLoss = "",
    before: Before = None,
    requested_by: RequestedBy = "",
) -> str:
    """Switch back to the database of before a restore, unless that would lose what was written since.

    For a run that died after the switch it is completed then: what visitors wrote stays.
    """
    before = before or find_last_switch(environment)
    approved(environment, question_of_undo(environment.environment, before, accept_loss))
    own = {"accept_loss": accept_loss, "before": before.model_dump()}
    with locked(environment), finished_by(undo_restore, f"the undo of the restore of {before.backup}", **own):
        if is_switched(environment, before):
            try:
                _go_back(environment, before, accept_loss)
            except LossNotAccepted as error:
                return _stay(environment, before, error)
        if before.live_oid == 0:
            return f"There is no database {before.live}, as before the restore of {before.backup}."
        open_database(environment, before.live_oid, before.may_connect)
        if before.opens_to is None:
            _put_back_in_service(environment, before)
        return finished(
            "undo-restore", f"{before.live} is the database of before the restore of {before.backup} again."
        )


@procedure("resume-writes", run_name="resume writes of {environment!s:.60}")
def resume_writes(environment: Environment, oid: int, may_connect: list[str]) -> str:
    """Let those connect to a database who could before its writes were stopped, unless it is live no more."""
    with locked(environment):
        is_live = read_live_oid(environment) == oid
        if is_live:
            open_database(environment, oid, may_connect)
        leave_maintenance(environment)
    if not is_live:
        return "Another database is live: this one stays closed."
    return "Whoever could connect before can connect again."


@procedure("discard-restored", run_name="discard what was restored for {environment!s:.60}")
def discard_restored(environment: Environment, name: str) -> str:
    """Drop a database that a restore made and that never became the live one."""
    with locked(environment):
        drop_new_database(environment, name)
    return f"There is no database {name}."


def restore_as_planned(
    environment: Environment, plan: RestorePlan, accept_loss: str, opens_to: list[str] | None = None
) -> tuple[SwitchBefore, list[str]]:
    """Under the lock: everything from stopping the writes to the service that answers; what was not carried over.

    `opens_to`: who may connect afterwards, where the live database was closed before; its undo closes it again.
    """
    live = plan.live
    with armed(resume_writes, f"access to {live.name}", oid=live.oid, may_connect=sorted(live.may_connect)):
        with phase("stop writes"):
            enter_maintenance(environment)
            if plan.is_live_there:
                stop_writes(environment, live.oid)
            require_accepted(read_losses(environment, plan.backup, live.name), accept_loss, plan.backup.taken_at)
        with armed(discard_restored, f"the database {plan.new_name}", name=plan.new_name):
            with phase("restore"):
                created = create_new_database(environment, plan)
                restore_into_new(environment, plan)
            with phase("verify"):
                verify_restored(environment, plan)
            with phase("settings and statistics"):
                left = carry_over_settings(environment, plan)
            require_same_live(environment, plan)
            before = switch_before(environment, plan, created, opens_to)
            with armed(undo_restore, f"the live database {live.name}", before=before.model_dump()):
                with phase("switch"):
                    _switch(environment, before)
                    leave_maintenance(environment)
                with phase("verify service"):
                    _verify_answers(environment)
    return before, left


def _switch(environment: Environment, before: SwitchBefore) -> None:
    if before.traffic is None:
        exchange_names(environment, before)
        open_database(environment, before.new_oid, before.may_connect_after)
    else:
        open_database(environment, before.new_oid, before.may_connect_after)
        point_application(environment, before)
        restart_release(environment, before.traffic)


def _go_back(environment: Environment, before: SwitchBefore, accept_loss: str) -> None:
    access = {"oid": before.new_oid, "may_connect": before.may_connect_after}
    with armed(resume_writes, f"access to {before.restored}", **access):
        with phase("stop writes"):
            enter_maintenance(environment)
            stop_writes(environment, before.new_oid)
            _require_nothing_written(environment, before, accept_loss)
        with phase("switch back"):
            _switch_back(environment, before)


def _stay(environment: Environment, before: SwitchBefore, error: LossNotAccepted) -> str:
    """For a run that died. Raises the error where somebody is there to read it, or the releases were changed."""
    is_dead_undo = may_complete("undo-restore")
    if not is_dead_undo and (before.traffic or not may_complete("restore-and-verify")):
        raise error
    with phase("verify service"):
        verify_answers(environment.service)
    told = f"{before.backup} is live as {before.restored}, and stays. {error.message}"
    return told if is_dead_undo else complete(told)


def _switch_back(environment: Environment, before: SwitchBefore) -> None:
    if before.traffic is None:
        exchange_names_back(environment, before)
    else:
        point_application(environment, before, back=True)


def _put_back_in_service(environment: Environment, before: SwitchBefore) -> None:
    if before.traffic:
        with phase("releases of before"):
            return_to_releases(environment, before.traffic)
    leave_maintenance(environment)
    _verify_answers(environment)


def _verify_answers(environment: Environment) -> None:
    """After a total loss the data comes back before the application does."""
    if serves_visitors(environment):
        verify_answers(environment.service)


def _require_nothing_written(environment: Environment, before: SwitchBefore, accept_loss: str) -> None:
    backup = find_backup(environment, before.backup).manifest
    losses = read_losses(environment, backup, before.restored)
    require_accepted(losses, accept_loss, backup.taken_at)
