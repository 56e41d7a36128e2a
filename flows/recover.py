"""Finish what a dead run left armed: its undos, innermost first."""

from importlib import import_module
from typing import Any

from prefect import Flow

from blocks.environment import Environment
from blocks.errors import NotPutBack
from flows.guards.armed import carry_out
from flows.guards.lock import locked
from flows.guards.parameters import RequestedBy
from flows.guards.procedure import procedure
from tasks.ledger import ArmedUndo, current_run, end_dead_runs, read_armed_undos
from tasks.leftovers import end_leftovers
from tasks.notice import announce


@procedure("recover", run_name="recover {environment!s:.60}")
def recover(
    environment: Environment,
    requested_by: RequestedBy = "",
) -> str:
    """Take a dead run's environment over and put back what it changed."""
    run = current_run()
    with locked(environment, leftovers=True):
        left = read_armed_undos(run.connection, environment.environment)
        if not left:
            return f"Nothing is armed in {environment.environment}."
        end_leftovers(environment, sorted({undo.run_id for undo in left}))
        for undo in left:
            run.acts_for = undo.run_id
            carry_out(run, undo.id, _flow_of(undo), _in_words(undo), undo.parameters)
        ending, message = _ending_of(run.failed_undos, run.undone)
        end_dead_runs(run, {undo.run_id for undo in left}, ending, message)
    announce(environment, f"{environment.environment} was recovered: {ending}", message)
    if run.failed_undos:
        raise NotPutBack(message)
    return message


def _flow_of(undo: ArmedUndo) -> Flow[..., Any]:
    module, name = undo.undo.split(":")
    found: Flow[..., Any] = getattr(import_module(module), name)
    return found


def _in_words(undo: ArmedUndo) -> str:
    return f"{undo.undo.partition(':')[2].replace('_', ' ')} of run {undo.run_id}"


def _ending_of(failed: list[str], undone: list[str]) -> tuple[str, str]:
    if failed:
        return "Needs a human", " ".join(failed)
    return "Rolled back", f"The run died; carried out: {', '.join(undone)}. The state before was verified."
