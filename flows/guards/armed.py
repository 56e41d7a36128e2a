"""`with armed(undo, …)`: an undo that is written down before the change, and struck out when it is proven."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any, NamedTuple

from prefect import Flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.exceptions import Pause

from blocks.errors import BackstopError, FenceLost
from flows.guards.endings import Ending
from tasks.armed_undo import arm, close_undo, disarm, read_undo_state
from tasks.ledger import Run, current_run
from tasks.prefect_server import prefect_answers

ATTEMPTS = 3
"""How often an undo is begun when the ledger goes away in its middle. It looks before it acts, so that is safe."""

NEEDED_BY_SUBFLOWS = "fastapi.encoders"
"""Prefect imports it when a run starts its first subflow. That is the undo, which has no time to lose."""


class Armed(NamedTuple):
    """An undo as it stands in the ledger."""

    id: int
    undo: Flow[..., Any]
    what: str
    """What it puts back, for a person."""
    parameters: dict[str, Any]


_proven: ContextVar[list[Armed] | None] = ContextVar("proven", default=None)
"""Blocks that ended well inside of one that goes on, outermost first. None where nothing is armed."""


@contextmanager
def armed(undo: Flow[..., Any], what: str, **parameters: object) -> Iterator[None]:
    """Run the block with `undo` armed. On any exception, cancellation included, undo as a subflow.

    `what` names for a person what the undo puts back; `parameters` are the undo's, plain
    values. The exception is let through: `@procedure` makes *rolled back* or *needs a
    human* of it. A failing undo does not stop those armed around it.

    A block that is inside of another one stays armed until the outermost has ended, and then all are
    struck out at once: a run that dies in between would be taken back in part only.
    """
    run, enclosing = current_run(), _proven.get()
    if run.fence is None:
        raise FenceLost(f"'{what}' was about to be armed without holding {run.environment}.")
    import_module(NEEDED_BY_SUBFLOWS)
    own = Armed(arm(run, path_of(undo), parameters), undo, what, parameters)
    proven: list[Armed] = []
    token = _proven.set(proven)
    try:
        yield
        if enclosing is None:
            disarm(run, [own.id, *(one.id for one in proven)])
        else:
            enclosing += [own, *proven]
    except BaseException as error:
        _hold_on(run)
        if enclosing is None and read_undo_state(run.connection, own.id) == "disarmed":
            return  # what failed was the disarming itself, after it held
        for one in reversed([own, *proven]):
            get_run_logger().warning("%s: putting back %s", _named(error), one.what)
            _carry_out_or_leave(run, one)
        if isinstance(error, Pause):
            raise BackstopError("A step tried to pause while an undo was armed.", "Pause before the lock.") from None
        raise
    finally:
        _proven.reset(token)


@contextmanager
def finished_by(finish: Flow[..., Any], what: str, **parameters: object) -> Iterator[None]:
    """Run the block; should its process die inside of it, recover carries out `finish`, which ends in `finished`.

    For an undo that somebody started: half-way there is nothing worth going back to. `what` and `parameters` are
    as those of `armed`. An exception is let through, and nothing is carried out for it: who started it reads
    what became of it. Nothing is armed where the block is itself an undo of a run: there it is armed already.
    """
    run = current_run()
    if run.undos_under_way:
        yield
        return
    if run.fence is None:
        raise FenceLost(f"'{what}' was about to begin without holding {run.environment}.")
    armed_id = arm(run, path_of(finish), parameters)
    try:
        yield
        disarm(run, [armed_id])
    except BaseException as error:
        _hold_on(run)
        if read_undo_state(run.connection, armed_id) == "disarmed":
            return  # what failed was the disarming itself, after it held
        if run.effects and not run.undone:
            close_undo(run, armed_id, "failed", f"{what}: {_named(error)}")
        else:
            disarm(run, [armed_id])
        raise


def carry_out(run: Run, armed: Armed) -> None:
    """Run one armed undo as a subflow and write down how it went. Raises FenceLost when it is no longer ours to run."""
    for _ in range(ATTEMPTS):
        token = _proven.set(None)  # what the undo itself arms is its own to strike out
        run.undos_under_way += 1
        try:
            state = _call(armed.undo, {"environment": run.environment, **armed.parameters})
        finally:
            run.undos_under_way -= 1
            _proven.reset(token)
        if run.acts_for in run.completed:
            return
        if state.name == Ending.DONE:
            close_undo(run, armed.id, "undone", state.message or "")
            run.undone.append(armed.what)
            return
        if run.is_holding():
            break
        _hold_on(run)
    close_undo(run, armed.id, "failed", state.message or "")
    run.failed_undos.append(f"The undo of {armed.what} failed: {state.message}")


def _carry_out_or_leave(run: Run, armed: Armed) -> None:
    """What is not carried out, as when a second cancellation strikes, stays armed and is left to recover."""
    try:
        carry_out(run, armed)
    except BaseException:
        run.left_armed = True
        raise


def _call(undo: Flow[..., Any], parameters: dict[str, Any]) -> State[object]:
    """As a subflow; as steps of this run where Prefect is away, which is no reason to leave things as they are."""
    if prefect_answers():
        try:
            as_subflow: Callable[..., State[object]] = undo
            return as_subflow(**parameters, return_state=True)
        except Exception as error:  # Prefect's own: what an undo raises is in its state
            get_run_logger().warning("%s could not run as a subflow: %s", undo.name, type(error).__name__)
    else:
        get_run_logger().warning("Prefect does not answer: %s runs without a subflow", undo.name)
    within: State[object] = undo.fn(**parameters)
    return within


def path_of(undo: Flow[..., Any]) -> str:
    """`module:flow`, as the ledger keeps it for whoever has to carry it out."""
    return f"{undo.fn.__module__}:{undo.fn.__name__}"


def _hold_on(run: Run) -> None:
    """Regain a ledger that went away."""
    try:
        run.hold_on()
    except BackstopError:
        run.left_armed = True
        raise


def _named(error: BaseException) -> str:
    return error.message if isinstance(error, BackstopError) else type(error).__name__
