"""Restore a backup beside the live database, prove it there, and let it take the live one's name; or put all back.

plan → approval → lock → stop writes → new database → restore → compare → settings → switch → writes on → verify
                                └──── on any failure: names and access as before, the new database dropped ────┘

Or go back to a point in time, where somebody else runs the database and keeps its history:

plan → approval → lock → clone → read it all → stop writes → compare → switch → verify
                           └──── on any failure: variable and access as before; the clone stays, and is told of
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from pydantic import Field

from blocks.database import MAIN
from blocks.environment import Environment
from blocks.manifest import HeldContent
from flows.guards.approval import approved
from flows.guards.armed import armed, finished_by
from flows.guards.lock import locked
from flows.guards.parameters import FilledInByRun, RequestedBy
from flows.guards.procedure import procedure
from tasks.armed_undo import complete, finished, may_complete
from tasks.catalogue import find_backup
from tasks.clone import (
    bring_passwords,
    clone_instance,
    clone_stays,
    switch_before_clone,
    tell_of_clone,
    verify_clone,
)
from tasks.clone_plan import ClonePlan, plan_clone, publish_clone_plan, require_alone
from tasks.clone_plan import require_possible as require_clone_possible
from tasks.health import verify_answers, verify_service
from tasks.ledger import current_run, phase
from tasks.notice import announce
from tasks.restart import finish_restart, leave_releases, restart_release, return_to_releases
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
from tasks.restore_question import question_of, question_of_clone, question_of_undo
from tasks.restore_roles import drop_made_roles, make_roles
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
PointInTime = Annotated[
    str,
    Field(
        max_length=40,
        description="Instead of a backup: the moment, as 2026-11-21T02:00Z, of which a clone is made where the database"
        " is on Cloud SQL.",
    ),
]
AcceptLoss = Annotated[
    str,
    Field(max_length=4000, description="Tables, by commas, whose writes since the backup may be lost; see the plan."),
]
Into = Annotated[
    str,
    Field(
        max_length=60,
        description="Server to restore into: `main`, or one of `database.instances`; empty: the present one.",
    ),
]
PlanOnly = Annotated[bool, Field(description="Show the plan and change nothing.")]
Before = Annotated[
    SwitchBefore | None, FilledInByRun, Field(description="Filled in by a restore's own rollback; leave empty.")
]


@procedure("restore-and-verify", run_name="restore {backup!s:.40} into {environment!s:.60}")
def restore_and_verify(  # noqa: PLR0913, PLR0917 (they are the fields of its form)
    environment: Environment,
    backup: Which = "latest",
    at: At = "",
    accept_loss: AcceptLoss = "",
    instance: Into = "",
    point_in_time: PointInTime = "",
    plan_only: PlanOnly = False,
    requested_by: RequestedBy = "",
) -> str:
    """Bring the data of a backup back; the database of before is kept, and no write is lost unless it was named."""
    if point_in_time:
        require_alone(point_in_time, backup=backup, at=at, instance=instance)
        return _go_back_to(environment, point_in_time, accept_loss, plan_only)
    with phase("plan"):
        plan = plan_restore(environment, backup, at, instance)
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
    left += _smoke(environment)

    kept = f" the database of before is kept as {plan.kept}." if plan.is_live_there else ""
    on = f" on {plan.instance}" if plan.moves else ""
    message = f"{plan.backup.id} is live in {plan.environment} as {before.restored}{on};{kept}".rstrip(";")
    announce(environment, f"{plan.environment} was restored", message)
    return " ".join([message, *left])


def _go_back_to(environment: Environment, point_in_time: str, accept_loss: str, plan_only: bool) -> str:
    with phase("plan"):
        plan = plan_clone(environment, point_in_time)
        publish_clone_plan(plan)
    if plan_only:
        return f"Plan {plan.fingerprint} was made. Nothing was changed."
    require_clone_possible(plan)
    if not plan.is_live_there:
        require_accepted(None, accept_loss, plan.point_in_time)
    approved(environment, question_of_clone(plan, accept_loss))

    with locked(environment):
        require_as_planned(environment, plan)
        announce(
            environment, f"{plan.environment} goes back to {plan.moment}", f"{plan.source} is cloned as {plan.clone}."
        )
        switch_to_clone(environment, plan, accept_loss)
    left = _smoke(environment)

    kept = f"the database of before is kept on {plan.source}, and costs on." if plan.is_live_there else ""
    message = f"{plan.environment} is as of {plan.moment}, on {plan.clone}; {kept}".rstrip("; ")
    announce(environment, f"{plan.environment} was brought back to {plan.moment}", message)
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
    own = {"accept_loss": accept_loss, "before": before.model_dump(mode="json")}
    with locked(environment), finished_by(undo_restore, f"the undo of the restore of {before.backup}", **own):
        if is_switched(environment, before):
            try:
                _go_back(environment, before, accept_loss)
            except LossNotAccepted as error:
                return _stay(environment, before, error)
        if before.live_oid == 0:
            if before.traffic:
                leave_releases(environment, before.traffic)
            return f"There is no database {before.live}, as before the restore of {before.backup}."
        open_database(environment, before.live_oid, before.may_connect, before.live_instance)
        if before.opens_to is None:
            _put_back_in_service(environment, before)
        left = f" {clone_stays(before.instance)}" if before.content else ""
        return finished(
            "undo-restore", f"{before.live} is the database of before the restore of {before.backup} again.{left}"
        )


@procedure("resume-writes", run_name="resume writes of {environment!s:.60}")
def resume_writes(environment: Environment, oid: int, may_connect: list[str], instance: str = MAIN) -> str:
    """Let those connect to a database who could before its writes were stopped, unless it is live no more."""
    with locked(environment):
        is_live = oid == 0 or read_live_oid(environment) == (instance, oid)
        if is_live:
            open_database(environment, oid, may_connect, instance)
        leave_maintenance(environment)
    if not is_live:
        return "Another database is live: this one stays closed."
    return "Whoever could connect before can connect again."


@procedure("discard-restored", run_name="discard what was restored for {environment!s:.60}")
def discard_restored(environment: Environment, name: str, instance: str = MAIN) -> str:
    """Drop a database that a restore made and that never became the live one."""
    with locked(environment):
        drop_new_database(environment, name, instance)
    return f"There is no database {name}."


@procedure("discard-roles", run_name="discard roles made for {environment!s:.60}")
def discard_roles(environment: Environment, instance: str, names: list[str], made_by: str) -> str:
    """Drop the roles that a restore made on another server."""
    with locked(environment):
        drop_made_roles(environment, instance, names, made_by)
    return f"There is no role of {made_by} on {instance}."


@procedure("leave-clone", run_name="leave the clone {clone!s:.80} of {environment!s:.60}")
def leave_clone(environment: Environment, clone: str) -> str:
    """Tell of a clone that a run made, or may have made: it is nothing that Backstop deletes."""
    return tell_of_clone(environment, clone)


def switch_to_clone(environment: Environment, plan: ClonePlan, accept_loss: str) -> None:
    """Under the lock: everything from the clone to the service that answers, which is down for the switch only."""
    live = plan.live
    access = {"oid": live.oid, "may_connect": sorted(live.may_connect), "instance": plan.live_instance}
    with armed(leave_clone, f"all but the clone {plan.clone}, which stays until somebody deletes it", clone=plan.clone):
        with phase("clone"):
            clone_instance(environment, plan)
            bring_passwords(environment, plan)
        with phase("verify"):
            clone = verify_clone(environment, plan)
            _require_accepted_since(environment, plan, clone.content, accept_loss)
        with armed(resume_writes, f"access to {live.name}", **access):
            with phase("stop writes"):
                enter_maintenance(environment)
                if plan.is_live_there:
                    stop_writes(environment, live.oid, plan.live_instance)
                _require_accepted_since(environment, plan, clone.content, accept_loss)
            require_same_live(environment, plan)
            before = switch_before_clone(environment, plan, clone)
            with armed(undo_restore, f"the live database {live.name}", before=before.model_dump(mode="json")):
                with phase("switch"):
                    _switch(environment, before)
                    leave_maintenance(environment)
                with phase("verify service"):
                    _verify_answers(environment)


def restore_as_planned(
    environment: Environment, plan: RestorePlan, accept_loss: str, opens_to: list[str] | None = None
) -> tuple[SwitchBefore, list[str]]:
    """Under the lock: everything from stopping the writes to the service that answers; what was not carried over.

    `opens_to`: who may connect afterwards, where the live database was closed before; its undo closes it again.
    """
    live = plan.live
    access = {"oid": live.oid, "may_connect": sorted(live.may_connect), "instance": plan.live_instance}
    new = {"name": plan.new_name, "instance": plan.instance}
    with armed(resume_writes, f"access to {live.name}", **access):
        with phase("stop writes"):
            enter_maintenance(environment)
            if plan.is_live_there:
                stop_writes(environment, live.oid, plan.live_instance)
            losses = read_losses(environment, plan.backup, live.name, plan.live_instance)
            require_accepted(losses, accept_loss, plan.backup.taken_at)
        with _roles_made(environment, plan) as left, armed(discard_restored, f"the database {plan.new_name}", **new):
            with phase("restore"):
                created = create_new_database(environment, plan)
                restore_into_new(environment, plan)
            with phase("verify"):
                verify_restored(environment, plan)
            with phase("settings and statistics"):
                left.extend(carry_over_settings(environment, plan))
            require_same_live(environment, plan)
            before = switch_before(environment, plan, created, opens_to)
            with armed(undo_restore, f"the live database {live.name}", before=before.model_dump(mode="json")):
                with phase("switch"):
                    _switch(environment, before)
                    leave_maintenance(environment)
                with phase("verify service"):
                    _verify_answers(environment)
    return before, left


@contextmanager
def _roles_made(environment: Environment, plan: RestorePlan) -> Iterator[list[str]]:
    """What of them was not carried over. Mostly the server has all that it takes."""
    if not plan.roles_to_make:
        yield []
        return
    made = {"instance": plan.instance, "names": plan.roles_to_make, "made_by": current_run().id}
    with armed(discard_roles, f"the roles of {plan.instance}", **made):
        with phase("roles"):
            left = make_roles(environment, plan.instance, plan.backup, plan.roles_to_make)
        yield left


def _switch(environment: Environment, before: SwitchBefore) -> None:
    if before.traffic is None:
        exchange_names(environment, before)
        open_database(environment, before.new_oid, before.may_connect_after)
    else:
        open_database(environment, before.new_oid, before.may_connect_after, before.instance)
        point_application(environment, before)
        restart_release(environment, before.traffic)


def _go_back(environment: Environment, before: SwitchBefore, accept_loss: str) -> None:
    access = {"oid": before.new_oid, "may_connect": before.may_connect_after, "instance": before.instance}
    with armed(resume_writes, f"access to {before.restored}", **access):
        with phase("stop writes"):
            enter_maintenance(environment)
            stop_writes(environment, before.new_oid, before.instance)
            _require_nothing_written(environment, before, accept_loss)
        with phase("switch back"):
            _switch_back(environment, before)


def _stay(environment: Environment, before: SwitchBefore, error: LossNotAccepted) -> str:
    """For a run that died. Raises the error where somebody is there to read it."""
    is_dead_undo = may_complete("undo-restore")
    if not is_dead_undo and not may_complete("restore-and-verify"):
        raise error
    with phase("verify service"):
        if before.traffic and not is_dead_undo:
            finish_restart(environment, before.traffic)
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


def _smoke(environment: Environment) -> list[str]:
    """It writes. Returns what could not be looked at."""
    if not serves_visitors(environment):
        return ["No release has traffic, so no service was looked at: deploy one."]
    with phase("smoke"):
        verify_service(environment.service)
    return []


def _require_nothing_written(environment: Environment, before: SwitchBefore, accept_loss: str) -> None:
    then = before.content or find_backup(environment, before.backup).manifest
    losses = read_losses(environment, then, before.restored, before.instance)
    require_accepted(losses, accept_loss, then.taken_at)


def _require_accepted_since(environment: Environment, plan: ClonePlan, then: HeldContent, accept_loss: str) -> None:
    losses = read_losses(environment, then, plan.live.name, plan.live_instance) if plan.is_live_there else None
    require_accepted(losses, accept_loss, plan.point_in_time)
