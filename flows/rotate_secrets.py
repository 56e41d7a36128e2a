"""Rotate secrets without anyone noticing, or return to the old ones everywhere.

plan → approval → lock → make → accepted beside the old → every sink → consumers anew → in use → old ones refused
                                └──── on any failure: old ones accepted, in every sink, consumers of before ────┘

After a breach the old ones are cut first, and it only goes forward:

plan → approval → lock → old ones refused, their users thrown out → make → every sink → consumers anew
                         └── on death: forward from there · on a failure: the rest all the same, then a human ──┘
"""

from contextlib import AbstractContextManager
from typing import Annotated

from pydantic import Field

from blocks.environment import Environment
from flows.guards.approval import approved
from flows.guards.armed import armed, finished_by
from flows.guards.lock import locked
from flows.guards.parameters import FilledInByRun, RequestedBy
from flows.guards.procedure import procedure
from tasks.armed_undo import finished
from tasks.consumers import renew_consumers, return_consumers
from tasks.health import verify_answers
from tasks.ledger import phase
from tasks.notice import announce
from tasks.rotation import (
    Rotating,
    close_rotation,
    disable_old_versions,
    install_new,
    is_open_after_breach,
    open_rotation,
    outwait_late_writes,
    prove_new_in_use,
    record_rotated,
    reinstate_old,
    reopen_rotation,
    retire_old,
    supply_sinks,
    withdraw_new,
)
from tasks.rotation_breach import (
    Failures,
    cut_old,
    disable_leaked,
    prove_finished,
    renew_interrupted,
    replace_cut,
    supply_all_sinks,
)
from tasks.rotation_plan import confirm_unchanged, plan_rotation, publish_rotation_plan, require_possible
from tasks.rotation_question import question_of, question_of_rollback

Which = Annotated[str, Field(max_length=2000, description="Names of secrets, by commas; empty for all.")]
RetirePrevious = Annotated[
    bool, Field(description="Make nothing new: have what is accepted beside the present ones refused.")
]
PlanOnly = Annotated[bool, Field(description="Show the plan and change nothing.")]
Emergency = Annotated[
    bool, Field(description="After a breach: cut the old ones first, accept the interruption, never go back.")
]
Rotation = Annotated[
    str | None, FilledInByRun, Field(description="Filled in by a rotation's own rollback; leave empty.")
]

_CUT = "every sink and consumer has the new, the old are refused"


@procedure("rotate-secrets", run_name="rotate secrets of {environment!s:.60}")
def rotate_secrets(
    environment: Environment,
    secrets: Which = "",
    emergency: Emergency = False,
    retire_previous: RetirePrevious = False,
    plan_only: PlanOnly = False,
    requested_by: RequestedBy = "",
) -> str:
    """Give an environment new secrets: everybody uses them, and the old ones are refused, before it is done."""
    with phase("plan"):
        plan = plan_rotation(environment, secrets, emergency, retire_previous)
        publish_rotation_plan(plan)
    if plan_only:
        return f"Plan {plan.fingerprint} was made. Nothing was changed."
    require_possible(plan)
    approved(environment, question_of(plan))

    with locked(environment):
        confirm_unchanged(plan, plan_rotation(environment, secrets, emergency, retire_previous))
        rotating = open_rotation(environment, plan)
        with _guarded(rotating):
            if emergency:
                _go_forward(environment, rotating)
            else:
                _replace(environment, rotating)
            outcome = record_rotated(rotating)
        close_rotation(rotating)

    announce(environment, f"{plan.title}: done", outcome)
    return f"{plan.title}: done, {outcome}."


@procedure("roll-back-rotation", run_name="roll back the rotation of {environment!s:.60}")
def roll_back_rotation(
    environment: Environment,
    rotation: Rotation = None,
    requested_by: RequestedBy = "",
) -> str:
    """Return every sink and consumer to the old secrets, which are accepted again, and have the new ones refused."""
    approved(environment, question_of_rollback(environment.environment, is_open_after_breach(environment)))
    with locked(environment):
        rotating = reopen_rotation(environment, rotation or "")
        if rotating is None:
            return finished("roll-back-rotation", f"The secrets of {environment.environment} were put back before.")
        with finished_by(roll_back_rotation, f"the way back to {rotating.names}", rotation=rotating.run_id):
            if rotating.emergency:
                _go_forward(environment, rotating)
                record_rotated(rotating)
                told = finished("rotate-secrets", f"{rotating.names} of {environment.environment} are new; {_CUT}.")
            else:
                _go_back(environment, rotating)
                told = f"{rotating.names} of {environment.environment} are the old ones again, everywhere."
            close_rotation(rotating)
            return finished("roll-back-rotation", told)


def _guarded(rotating: Rotating) -> AbstractContextManager[None]:
    """A failure goes back, a death, too; after a breach a death goes forward, and a failure needs a human."""
    if rotating.emergency:
        return finished_by(roll_back_rotation, f"what is left to do for {rotating.names}", rotation=rotating.run_id)
    return armed(roll_back_rotation, f"the secrets {rotating.names}", rotation=rotating.run_id)


def _replace(environment: Environment, rotating: Rotating) -> None:
    with phase("make and install"):
        install_new(rotating)
    with phase("sinks"):
        supply_sinks(rotating)
    with phase("consumers"):
        renew_consumers(environment, rotating.traffic)
    with phase("in use"):
        prove_new_in_use(rotating)
    with phase("retire the old"):
        retire_old(rotating)
        disable_old_versions(rotating)
        verify_answers(environment.service)


def _go_back(environment: Environment, rotating: Rotating) -> None:
    with phase("old secrets back"):
        reinstate_old(rotating)
    with phase("consumers of before"):
        return_consumers(environment, rotating.traffic)
        verify_answers(environment.service)
    with phase("withdraw the new"):
        withdraw_new(rotating)
    with phase("late writes"):
        outwait_late_writes(rotating)


def _go_forward(environment: Environment, rotating: Rotating) -> None:
    failures = Failures()
    with phase("cut the old"):
        cut_old(rotating, failures)
    with phase("make and install"):
        replace_cut(rotating, failures)
    with phase("sinks"):
        supply_all_sinks(rotating, failures)
        disable_leaked(rotating, failures)
    with phase("consumers"):
        renew_interrupted(environment, failures)
        prove_finished(rotating, failures)
