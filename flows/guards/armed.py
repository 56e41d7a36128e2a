"""`with armed(undo, …)`: an undo that is written down before the change, and struck out when it is proven."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from prefect import Flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.exceptions import Pause

from blocks.errors import BackstopError, FenceLost
from flows.guards.endings import Ending
from tasks.ledger import Run, arm, close_undo, current_run, read_undo_state

ATTEMPTS = 3
"""How often an undo is begun when the ledger goes away in its middle. It looks before it acts, so that is safe."""

NEEDED_BY_SUBFLOWS = "fastapi.encoders"
"""Prefect imports it when a run starts its first subflow. That is the undo, which has no time to lose."""


@contextmanager
def armed(undo: Flow[..., Any], what: str, **parameters: object) -> Iterator[None]:
    """Run the block with `undo` armed. On any exception, cancellation included, undo as a subflow.

    `what` names for a person what the undo puts back; `parameters` are the undo's, plain
    values. The exception is let through: `@procedure` makes *rolled back* or *needs a
    human* of it. A failing undo does not stop those armed around it.
    """
    run = current_run()
    if run.fence is None:
        raise FenceLost(f"'{what}' was about to be armed without holding {run.environment}.")
    import_module(NEEDED_BY_SUBFLOWS)
    armed_id = arm(run, path_of(undo), parameters)
    try:
        yield
        close_undo(run, armed_id, "disarmed")
    except BaseException as error:
        if _was_disarmed(run, armed_id):
            return
        get_run_logger().warning("%s: putting back %s", _named(error), what)
        carry_out(run, armed_id, undo, what, parameters)
        if isinstance(error, Pause):
            raise BackstopError("A step tried to pause while an undo was armed.", "Pause before the lock.") from None
        raise


def carry_out(run: Run, armed_id: int, undo: Flow[..., Any], what: str, parameters: dict[str, Any]) -> None:
    """Run one armed undo as a subflow and write down how it went. Raises FenceLost when it is no longer ours to run."""
    call: Callable[..., State[object]] = undo
    for _ in range(ATTEMPTS):
        state = call(environment=run.environment, **parameters, return_state=True)
        if state.name == Ending.DONE:
            close_undo(run, armed_id, "undone", state.message or "")
            run.undone.append(what)
            return
        if run.is_holding():
            break
        _hold_on(run)
    close_undo(run, armed_id, "failed", state.message or "")
    run.failed_undos.append(f"The undo of {what} failed: {state.message}")


def path_of(undo: Flow[..., Any]) -> str:
    """`module:flow`, as the ledger keeps it for whoever has to carry it out."""
    return f"{undo.fn.__module__}:{undo.fn.__name__}"


def _was_disarmed(run: Run, armed_id: int) -> bool:
    """Regain a ledger that went away. The failure may have been that of the disarming itself, after it held."""
    _hold_on(run)
    return read_undo_state(run.connection, armed_id) == "disarmed"


def _hold_on(run: Run) -> None:
    try:
        run.hold_on()
    except BackstopError:
        run.left_armed = True
        raise


def _named(error: BaseException) -> str:
    return error.message if isinstance(error, BackstopError) else type(error).__name__
