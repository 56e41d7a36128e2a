"""Finish what a dead run left armed: its undos, innermost first."""

from importlib import import_module
from typing import Any

from prefect import Flow

from blocks.environment import Environment
from blocks.errors import NotPutBack
from flows.guards.armed import Armed, carry_out
from flows.guards.lock import locked
from flows.guards.parameters import RequestedBy
from flows.guards.procedure import procedure
from tasks.armed_undo import ArmedUndo, close_undo, read_armed_undos
from tasks.issue import open_issue
from tasks.ledger import Run, current_run, end_dead_runs
from tasks.leftovers import end_leftovers
from tasks.notice import announce
from tasks.report import publish_dead_run, read_reported_ending


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
        dead = {undo.run_id for undo in left}
        end_leftovers(environment, sorted(dead))
        for undo in left:
            run.acts_for = undo.run_id
            if ended := read_reported_ending(environment.environment, undo.run_id):
                _leave(run, undo, ended)
            elif undo.run_id not in run.completed:
                carry_out(run, Armed(undo.id, _flow_of(undo), _in_words(undo), undo.parameters))
        ending, message = _ending_of(run)
        end_dead_runs(run, dead, ending, message)
        for run_id in dead:
            publish_dead_run(environment.environment, run_id, ending, message, run.id)
    title = f"{environment.environment} was recovered: {ending}"
    announce(environment, title, message)
    if ending == "Rolled back":
        open_issue(environment, title, message)
    if run.failed_undos:
        raise NotPutBack(message)
    return message


def _leave(run: Run, undo: ArmedUndo, ended: str) -> None:
    """A report is written when nothing is armed any more: this ledger is older than what it tells of."""
    message = f"not carried out: its run ended before ({ended}), and this ledger is a copy from an earlier time"
    close_undo(run, undo.id, "failed", message)
    run.failed_undos.append(f"{_in_words(undo).capitalize()}: {message}.")


def _flow_of(undo: ArmedUndo) -> Flow[..., Any]:
    module, name = undo.undo.split(":")
    found: Flow[..., Any] = getattr(import_module(module), name)
    return found


def _in_words(undo: ArmedUndo) -> str:
    return f"{undo.undo.partition(':')[2].replace('_', ' ')} of run {undo.run_id}"


def _ending_of(run: Run) -> tuple[str, str]:
    if run.failed_undos:
        return "Needs a human", " ".join(run.failed_undos)
    if run.completed:
        return "Done", f"The run died; what it had begun was completed. {' '.join(run.completed.values())}"
    return "Rolled back", f"The run died; carried out: {', '.join(run.undone)}. The state before was verified."
