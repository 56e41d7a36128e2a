import argparse
import sys
from datetime import UTC
from typing import TYPE_CHECKING

from blocks.errors import BackstopError, Refused
from blocks.evidence import Evidence
from blocks.ledger import trail
from blocks.ledger.connection import Connection, connect
from deployments.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from blocks.ledger.approval_requests import Request

HELP = (
    "Decide about a run that waits for an approval: show its plan, and read your one-time code from the terminal. "
    "Without RUN, list what waits."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", default="", metavar="RUN", help="the run's id, or its first characters")
    parser.add_argument("--as", dest="name", default="", metavar="NAME", help="who you are, as you were enrolled")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--reject", action="store_true", help="end the run before it changes anything")
    how.add_argument(
        "--break-glass", action="store_true", help="in an incident: let it through alone; everybody is told"
    )
    parser.add_argument("--reason", default="", help="why; kept in the trail. --break-glass needs 20 characters")


def run(arguments: argparse.Namespace) -> int:
    from deployments.surroundings import use_stack_if_none

    use_stack_if_none()
    with connect("approve") as connection:
        if not arguments.run:
            return _list(connection)
        if not arguments.name:
            print("backstop: who decides? Say --as NAME.", file=sys.stderr)
            return ExitCode.USAGE
        return _decide(connection, arguments)


def _list(connection: Connection) -> int:
    from blocks.ledger.approval_requests import read_all_pending

    waiting = read_all_pending(connection)
    for request in waiting:
        _tell(f"{request.run_id}  {request.question['title']}  until {request.expires_at.astimezone(UTC):%F %H:%M} UTC")
    if not waiting:
        print("Nothing waits for an approval.")
    return ExitCode.DONE


def _decide(connection: Connection, arguments: argparse.Namespace) -> int:
    from blocks.ledger.approval_decisions import Answer, decide
    from deployments.cli.one_time_code import ask_code

    request = _find(connection, arguments.run)
    _show(connection, request)
    verdict = "reject" if arguments.reject else "break glass" if arguments.break_glass else "approve"
    answer = Answer(
        verdict, arguments.name, ask_code(arguments.name), arguments.reason, request.fingerprint, "terminal"
    )
    after = decide(connection, request, answer)
    trail.anchor(connection, Evidence.from_surroundings())
    told = {"approved": "The plan is approved; the run goes on.", "rejected": "The plan is rejected; the run ends."}
    print(told.get(after.state, "Your decision is recorded; another person is needed."))
    if after.state != "open":
        _wake(request.run_id)
    return ExitCode.DONE


def _find(connection: Connection, begins: str) -> "Request":
    from blocks.ledger.approval_requests import read_all_pending

    found = [request for request in read_all_pending(connection) if request.run_id.startswith(begins)]
    if len(found) != 1:
        which = "Several runs begin so" if found else "No run that begins so waits for an approval"
        raise Refused(f"{which}: {begins[:40]}.", "`backstop approve` lists what waits. Nothing was decided.")
    return found[0]


def _show(connection: Connection, request: "Request") -> None:
    from blocks.ledger.approval_requests import read_decisions
    from tasks.question import Question, describe_asked

    question, until = Question.model_validate(request.question), request.expires_at.astimezone(UTC)
    _tell(f"{question.title}: plan {question.fingerprint}, open until {until:%F %H:%M} UTC")
    for line in describe_asked(request, read_decisions(connection, request)):
        _tell(line)
    for effect in question.effects:
        _tell(f"  {effect.what}")
        _tell(f"    undone by: {effect.undo or 'nothing'}")
    for line in ["Would be lost:", *question.losses] if question.losses else ["Nothing would be lost."]:
        _tell(line)
    for name, value in question.facts.items():
        _tell(f"  {name}: {value}")


def _tell(line: str) -> None:
    """What others wrote, as a reason or a commit's title, must not write over the plan on this terminal."""
    print("".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line))


def _wake(run_id: str) -> None:
    """A run that nobody can wake from here is woken by the supervisor."""
    from deployments.prefect_api import PrefectApi

    try:
        PrefectApi().wake(run_id)
    except BackstopError as error:
        print(
            f"backstop: the supervisor will wake the run; from here it could not be: {error.message}", file=sys.stderr
        )
