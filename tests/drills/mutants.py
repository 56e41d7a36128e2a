"""Backstop, broken in one place each: what a drill's checks must see. Applied in a forked child, and gone with it."""

# mypy: disable-error-code="assignment, attr-defined, method-assign"
# Other functions are put in the place of one's own, also in modules that only import them.

from contextlib import nullcontext

from blocks.environment import Environment
from blocks.errors import FenceLost
from blocks.ledger.connection import connect
from blocks.ledger.fence import Fence
from flows import deploy, recover
from flows.guards import armed
from tasks import ledger, release
from tasks.effect import effect
from tasks.ledger import Run
from tasks.traffic import TrafficBefore


def forgets_an_effect() -> None:
    """A release is started, and the ledger does not know of it."""
    release.effect = lambda name, **target: nullcontext()


def skips_arming() -> None:
    """Changes are made, and nothing says how to take them back."""
    armed.arm = lambda run, undo, parameters: 0
    armed.disarm = lambda run, armed_ids: None


def undoes_twice() -> None:
    """Every undo is carried out a second time, and does not look before it acts."""
    once = armed.carry_out

    def twice(run: Run, one: armed.Armed) -> None:
        once(run, one)
        once(run, one)

    def return_traffic(environment: Environment, before: TrafficBefore) -> None:
        with effect("shift traffic", split=before.split):
            environment.platform.shift_traffic(before.split)

    armed.carry_out = recover.carry_out = twice
    deploy.return_traffic = return_traffic


def ignores_the_fence() -> None:
    """A run that was taken over connects again and goes on."""
    once = Run.record

    def record(run: Run, event: str, **detail: object) -> None:
        try:
            once(run, event, **detail)
        except FenceLost:
            run.connection = connect(run.id)
            once(run, event, **detail)

    Run.record = record
    Fence.check = lambda fence: None
    Fence.set_activity = lambda fence, activity: None


def overwrites_its_ending() -> None:
    """And writes its own ending where another one stands."""
    ignores_the_fence()

    def write_ending(run: Run, ending: str, message: str) -> None:
        run.connection.execute("UPDATE run SET ending = %s, message = %s WHERE id = %s", [ending, message, run.id])
        run.record("run ended", ending=ending, message=message)

    ledger._write_ending = write_ending
