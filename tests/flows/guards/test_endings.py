"""How a run ends, by what it did and undid: every combination, and what the person on call reads."""

from itertools import product
from typing import cast

import pytest
from prefect.client.schemas.objects import StateType

from blocks import errors
from blocks.errors import BackstopError, BadParameter, FenceLost, MissingReference, NotMeasurable, ReleaseIsBad
from blocks.ledger.connection import Connection
from flows.guards.endings import Ending, as_state, describe, ending_after
from tasks.ledger import Run

FAILED = ["The undo of the traffic failed: the platform does not answer."]


def run(effects: int = 0, undone: bool = False, failed: bool = False, left: bool = False) -> Run:
    return Run(
        id="run-1",
        procedure="deploy",
        environment="shop",
        requested_by="Ada",
        connection=cast(Connection, None),
        effects=effects,
        undone=["the traffic", "the tag"] if undone else [],
        failed_undos=FAILED if failed else [],
        left_armed=left,
    )


def expected(effects: int, undone: bool, failed: bool, left: bool) -> Ending:
    match (failed, left, undone, effects > 0):
        case (True, _, _, _):
            return Ending.NEEDS_A_HUMAN
        case (_, True, _, _):
            return Ending.LEFT_TO_RECOVER
        case (_, _, True, _):
            return Ending.ROLLED_BACK
        case (_, _, _, True):
            return Ending.NEEDS_A_HUMAN
        case _:
            return Ending.REFUSED


COMBINATIONS = list(product((0, 2), (False, True), (False, True), (False, True)))
ERRORS: list[BaseException] = [
    BackstopError("It is so.", "Do this."),
    ReleaseIsBad("It is slow."),
    NotMeasurable("Nobody saw."),
    FenceLost("It is lost."),
    BadParameter("version", "x", "y"),
    RuntimeError("hunter2"),
    KeyboardInterrupt(),
]


@pytest.mark.parametrize(("effects", "undone", "failed", "left"), COMBINATIONS)
def test_every_combination(effects: int, undone: bool, failed: bool, left: bool) -> None:
    ended = run(effects, undone, failed, left)
    for error in ERRORS:
        ending = ending_after(ended, error)
        assert ending is expected(effects, undone, failed, left)
        message = describe(ended, ending, error)
        assert ("othing was changed" in message) is (ending is Ending.REFUSED)
        assert ("Put back: the traffic, the tag." in message) is (ending is Ending.ROLLED_BACK)
        assert "hunter2" not in message


@pytest.mark.parametrize(
    ("ended", "error", "message"),
    [
        (
            run(effects=1, undone=True),
            ReleaseIsBad("v2 answers 8 % errors."),
            "v2 answers 8 % errors. Put back: the traffic, the tag. The state before was verified.",
        ),
        (run(effects=1, failed=True), ReleaseIsBad("v2 is slow."), f"v2 is slow. {FAILED[0]}"),
        (
            run(effects=1, undone=True, failed=True),
            RuntimeError(),
            f"An unexpected RuntimeError ended this run; the log has the details. {FAILED[0]}",
        ),
        (
            run(effects=1),
            KeyboardInterrupt(),
            "The run was cancelled. It changed something that has no undo; read the audit trail of this run.",
        ),
        (
            run(effects=1, left=True),
            FenceLost("Another run took shop over."),
            "Another run took shop over. What it had armed is recover's to put back.",
        ),
        (run(), KeyboardInterrupt(), "The run was cancelled. Nothing was changed."),
        (run(), FenceLost("It is lost."), "It is lost. Nothing was changed."),
        (run(), NotMeasurable("No metrics."), "No metrics. Nothing was changed."),
        (run(), ReleaseIsBad("It is bad."), "It is bad. Nothing was changed."),
        (run(), BackstopError("It is away.", "Start it."), "It is away. Start it. Nothing was changed."),
        (
            run(),
            MissingReference("${X}", "not set"),
            "The environment refers to ${X}, which is not set."
            " Set it where the worker runs and start again. Nothing was changed.",
        ),
    ],
)
def test_what_the_person_on_call_reads(ended: Run, error: BaseException, message: str) -> None:
    assert describe(ended, ending_after(ended, error), error) == message


def test_every_error_that_ends_a_run_before_any_change_says_so() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BackstopError)]
    assert len(kinds) > 12
    for kind in set(kinds) - {BadParameter, MissingReference}:
        message = describe(run(), Ending.REFUSED, kind("It is so."))
        assert message.startswith("It is so. ")
        assert message.count("othing was changed") == 1


@pytest.mark.parametrize("ending", Ending)
def test_the_state_carries_the_name_of_the_ending(ending: Ending) -> None:
    state = as_state(ending, "what happened")
    assert (state.name, state.message) == (ending.value, "what happened")
    assert state.type is (StateType.COMPLETED if ending is Ending.DONE else StateType.FAILED)
