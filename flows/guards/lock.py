"""One change at a time per environment."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from blocks.environment import Environment
from blocks.errors import FenceLost, Preempted
from blocks.ledger.fence import Fence, ask_to_leave, read_holder
from flows.guards.approval import require_may_act
from tasks.ledger import current_run

LEAVE_SECONDS = 60
"""How long a holder that was asked to leave has for putting back what it changed."""


@contextmanager
def locked(
    environment: Environment, preempt: bool = False, leftovers: bool = False, aspect: str = ""
) -> Iterator[None]:
    """Hold the environment; a procedure called by another one works under the lock already held.

    With `aspect` only that of it is held, as its backups, and who changes the rest may go on.
    With `preempt` a holder that only monitors is asked to leave and waited for. Only with
    `leftovers` is an environment taken in which a dead run left something armed.
    Raises EnvironmentBusy, at once where nobody was asked to leave.
    """
    run = current_run()
    if run.fence:
        yield
        return
    require_may_act(environment)
    name = f"{environment.environment}/{aspect}" if aspect else environment.environment
    asked = preempt and ask_to_leave(run.connection, name, run.id)
    fence = Fence(run.connection, name, run.id)
    fence.take(patience=LEAVE_SECONDS if asked else 0, leftovers=leftovers)
    run.fence = fence
    try:
        run.record("environment locked", epoch=fence.epoch)
        yield
    finally:
        run.fence = None
        with suppress(FenceLost):
            fence.release()


@contextmanager
def monitoring() -> Iterator[None]:
    """While the run only watches: an emergency may now ask it to leave."""
    fence = current_run().fence
    if fence is None:
        raise FenceLost("Watching needs the environment's lock.")
    fence.set_activity("monitoring")
    yield
    fence.set_activity("acting")


def check_still_ours() -> None:
    """Raises FenceLost when the environment is no longer held, Preempted when an emergency asks for it."""
    fence = current_run().fence
    wanted_by = fence.check() if fence else None
    if wanted_by:
        raise Preempted(f"Run {wanted_by} asked for the environment.")


def read_deploy_in_progress(environment: Environment) -> bool:
    """Whether the one who holds the environment is a deploy."""
    holder = read_holder(current_run().connection, environment.environment)
    return holder is not None and holder["procedure"] == "deploy"
