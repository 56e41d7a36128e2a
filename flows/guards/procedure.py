"""`@procedure`: what stands above every flow of an environment.

It opens the run in the ledger, checks the parameters, loads the environment, translates
whatever happens into one of the named endings, and writes the ending into the ledger,
which is the truth about the run whatever Prefect shows.
"""

import logging
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from prefect import Flow, flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.exceptions import FailedRun, Pause
from prefect.runtime import flow_run

from blocks.environment import Environment, load_environment
from blocks.errors import BackstopError, GoesOnElsewhere, Refused
from blocks.ledger.connection import connect
from flows.guards.approval import hear_answer
from flows.guards.endings import Ending, as_state, describe, ending_after
from flows.guards.parameters import checked, descriptions, digest, flow_signature, shown
from tasks.issue import open_issue
from tasks.ledger import Run, current_run, end_run, has_current_run, run_record
from tasks.notice import announce
from tasks.report import publish_report


class _NamedEndingIsNoCrash(logging.Filter):
    """Prefect logs a traceback for every state that a flow returns as failed. The ending has been told by then."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], FailedRun))


logging.getLogger("prefect.flow_runs").addFilter(_NamedEndingIsNoCrash())


def procedure(name: str, run_name: str) -> Callable[[Callable[..., object]], Flow[..., Any]]:
    """Make a procedure of a function whose first parameter is an Environment.

    The flow takes the environment's name instead. It returns the named state of its
    ending; the function's own return value is the message of *Done*.
    """

    def decorate(function: Callable[..., object]) -> Flow[..., Any]:
        signature = flow_signature(function)

        def body(*arguments: object, **named: object) -> State[object]:
            given = signature.bind(*arguments, **named).arguments
            inside = has_current_run()

            def act() -> str:
                values = checked(signature, given, inside)
                environment = _load(values.pop("environment"))
                if not inside:
                    hear_answer(environment)
                return str(function(environment, **values))

            return _run_inside(act) if inside else _run_on_its_own(name, given, act)

        body.__name__, body.__qualname__ = function.__name__, function.__qualname__
        body.__module__, body.__doc__ = function.__module__, function.__doc__
        body.__signature__ = signature  # type: ignore[attr-defined]
        body.__annotations__ = {key: value.annotation for key, value in signature.parameters.items()}
        made = flow(name=name, flow_run_name=run_name, validate_parameters=False)(body)
        for parameter, text in descriptions(signature).items():
            made.parameters.properties[parameter]["description"] = text
        return made

    return decorate


def _load(name: str) -> Environment:
    """As the run has it already: Prefect, which keeps it, may be away when things are put back."""
    run = current_run()
    if run.loaded is None or run.loaded.environment != name:
        run.loaded = load_environment(name)
    return run.loaded


def _run_on_its_own(name: str, given: dict[str, Any], act: Callable[[], str]) -> State[object]:
    try:
        connection = connect(flow_run.get_id() or "")
    except Refused as error:
        return as_state(Ending.REFUSED, str(error))
    parameters = shown(given)
    run = Run(
        id=flow_run.get_id() or str(uuid4()),
        procedure=name,
        environment=str(parameters.get("environment", "")),
        requested_by=str(parameters.get("requested_by") or ""),
        connection=connection,
    )
    try:
        with run_record(run, parameters, digest(given)):
            ending, message = _act_to_the_end(run, act)
    except Refused as error:
        return as_state(Ending.REFUSED, str(error))
    finally:
        run.connection.close()
    return as_state(ending, message)


def _act_to_the_end(run: Run, act: Callable[[], str]) -> tuple[Ending, str]:
    try:
        ending, message = Ending.DONE, act()
    except GoesOnElsewhere as error:
        run.record("repetition refused", ending=None)
        return Ending.REFUSED, str(error)
    except Exception as error:
        ending, message = _explain(run, error)
    except Pause:  # for an approval, with nothing armed: see `armed`
        raise
    except BaseException as error:  # cancelled: Prefect will show that whatever is returned
        _end(run, *_explain(run, error))
        raise
    _end(run, ending, message)
    return ending, message


def _run_inside(act: Callable[[], str]) -> State[object]:
    """As part of the run that called it: under its lock, within its record."""
    try:
        return as_state(Ending.DONE, act())
    except BackstopError as error:
        return as_state(Ending.NEEDS_A_HUMAN, str(error))
    except Exception as error:
        get_run_logger().exception("A step of %s failed in a way that nobody foresaw", current_run().procedure)
        return as_state(Ending.NEEDS_A_HUMAN, f"An unexpected {type(error).__name__}; the log has the details.")


def _explain(run: Run, error: BaseException) -> tuple[Ending, str]:
    if isinstance(error, Exception) and not isinstance(error, BackstopError):
        get_run_logger().exception("%s ended in a way that nobody foresaw", run.procedure)
    ending = ending_after(run, error)
    return ending, describe(run, ending, error)


def _end(run: Run, ending: Ending, message: str) -> None:
    log = get_run_logger()
    log.log(logging.INFO if ending is Ending.DONE else logging.ERROR, "%s: %s", ending.value, message)
    if ending is Ending.LEFT_TO_RECOVER:
        return
    try:
        end_run(run, ending.value, message)
        publish_report(run, ending.value, message)
        if ending in (Ending.ROLLED_BACK, Ending.NEEDS_A_HUMAN):
            environment, title = _load(run.environment), f"{run.procedure} in {run.environment}: {ending.value}"
            announce(environment, title, message)
            if ending is Ending.ROLLED_BACK:
                open_issue(environment, title, message)
    except BackstopError as error:
        log.error("The ending could not be written down or told: %s", error)
