"""How a run can end. Three endings once it has changed something, no fourth."""

from enum import StrEnum

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from blocks.errors import BackstopError, NotApproved, Refused
from tasks.ledger import Run

_NO_UNDO = "It changed something that has no undo; read the audit trail of this run."


class Ending(StrEnum):
    DONE = "Done"
    REFUSED = "Refused"
    NOT_APPROVED = "Not approved"
    ROLLED_BACK = "Rolled back"
    NEEDS_A_HUMAN = "Needs a human"
    LEFT_TO_RECOVER = "Left to recover"
    """Not an ending: another run has taken the environment over and writes the ending."""


def ending_after(run: Run, error: BaseException) -> Ending:
    """What a run that failed with `error` has come to, by what it did and undid."""
    if run.failed_undos:
        return Ending.NEEDS_A_HUMAN
    if run.left_armed:
        return Ending.LEFT_TO_RECOVER
    if run.undone:
        return Ending.ROLLED_BACK
    if run.effects:
        return Ending.NEEDS_A_HUMAN
    return Ending.NOT_APPROVED if isinstance(error, NotApproved) else Ending.REFUSED


def describe(run: Run, ending: Ending, error: BaseException) -> str:
    """For the person on call: what happened, what changed, what to do next."""
    happened = error.message if isinstance(error, BackstopError) else _unexpected(error)
    if ending is Ending.ROLLED_BACK:
        return f"{happened} Put back: {', '.join(run.undone)}. The state before was verified."
    if ending is Ending.NEEDS_A_HUMAN:
        left = " ".join(run.failed_undos) or _hint_of_this_case(error) or _NO_UNDO
        return f"{happened} {left}"
    if ending is Ending.LEFT_TO_RECOVER:
        return f"{happened} What it had armed is recover's to put back."
    hint = _hint_before_any_change(error)
    told = f"{happened} {hint}".rstrip()
    return told if "othing was changed" in hint else f"{told} Nothing was changed."


def _hint_before_any_change(error: BaseException) -> str:
    """A kind's own hint speaks of what follows a change, except where the kind is a refusal."""
    return error.hint if isinstance(error, Refused) else _hint_of_this_case(error)


def _hint_of_this_case(error: BaseException) -> str:
    """The hint that was given with the error, not that of its kind."""
    return error.hint if isinstance(error, BackstopError) and error.hint != type(error).hint else ""


def as_state(ending: Ending, message: str, result: object = None) -> State[object]:
    """The Prefect state that carries the ending's name."""
    if ending is Ending.DONE:
        return Completed(name=ending.value, message=message, data=result)
    return Failed(name=ending.value, message=message)


def _unexpected(error: BaseException) -> str:
    if isinstance(error, Exception):
        return f"An unexpected {type(error).__name__} ended this run; the log has the details."
    return "The run was cancelled."
