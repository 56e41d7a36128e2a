import argparse
import getpass
import json
import sys
from collections.abc import Callable
from typing import TypeVar

import psycopg

from blocks.errors import LedgerUnreachable, WrongCode
from blocks.ledger import approvers, trail
from blocks.ledger.connection import Connection, connect
from deployments.cli.exit_codes import ExitCode
from deployments.cli.one_time_code import ask_code

HELP = (
    "Say who may approve. Each approver has a device with an authenticator app, whose one-time codes prove who they "
    "are. The first one is enrolled here by whoever may reach the ledger; every other change is approved by an "
    "approver, with a one-time code that is asked for."
)
CODES = 3
"""How often a code is asked for."""
T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="who is enrolled, and since when")
    listing.add_argument("--json", action="store_true", help="for programs")
    for action, summary in {
        "add": "enrol somebody: shows a QR code for the authenticator app, once",
        "reset": "the same for the new device of somebody who is enrolled",
        "remove": "somebody approves no more",
    }.items():
        change = actions.add_parser(action, help=summary)
        change.add_argument("name", metavar="NAME")
        change.add_argument("--approved-by", metavar="OTHER", help="the approver whose one-time code is asked for")


def run(arguments: argparse.Namespace) -> int:
    from deployments.surroundings import use_stack_if_none

    use_stack_if_none()
    try:
        with connect("approvers") as connection:
            if arguments.action == "list":
                return _list(connection, arguments.json)
            other = arguments.approved_by and approvers.normalised(arguments.approved_by, "--approved-by")
            return _CHANGES[arguments.action](connection, approvers.normalised(arguments.name), other)
    except psycopg.Error as error:
        raise LedgerUnreachable(f"The ledger went away or refused: {type(error).__name__}.") from None


def _list(connection: Connection, as_json: bool) -> int:
    enrolled = approvers.read_approvers(connection)
    if as_json:
        shown = [{"name": one.name, "enrolled_at": one.enrolled_at.isoformat()} for one in enrolled]
        print(json.dumps(shown, indent=2))
        return ExitCode.DONE
    for one in enrolled:
        print(f"{one.name:<24} since {one.enrolled_at:%Y-%m-%d %H:%M} UTC")
    if not enrolled:
        print("Nobody is enrolled. `backstop approvers add NAME` enrols the first one.")
    return ExitCode.DONE


def _add(connection: Connection, name: str, other: str | None) -> int:
    approvers.check_add(connection, name, other)
    if other is None:
        print(f"Nobody is enrolled yet, so nobody has to approve this: {name} will be the first.")
    _prove(connection, other)
    seed, step = _new_device(connection, name)
    approvers.add(connection, name, seed, step=step, approved_by=other, asked_by=getpass.getuser())
    print(f"{name} is enrolled.")
    return ExitCode.DONE


def _reset(connection: Connection, name: str, other: str | None) -> int:
    approvers.check_replace(connection, name, other)
    _prove(connection, other)
    seed, step = _new_device(connection, name)
    approvers.replace_seed(connection, name, seed, step=step, approved_by=other, asked_by=getpass.getuser())
    print(f"{name} has a new device; the codes of the one before prove nothing any more.")
    return ExitCode.DONE


def _remove(connection: Connection, name: str, other: str | None) -> int:
    approvers.check_remove(connection, name, other)
    _prove(connection, other)
    approvers.remove(connection, name, approved_by=other, asked_by=getpass.getuser())
    print(f"{name} approves no more.")
    return ExitCode.DONE


_CHANGES = {"add": _add, "reset": _reset, "remove": _remove}


def _prove(connection: Connection, other: str | None) -> None:
    if other is not None:
        _ask_until_right(connection, other, lambda code: approvers.prove(connection, other, code))


def _new_device(connection: Connection, name: str) -> tuple[str, int]:
    """Its seed, and the time step of the code that confirmed it."""
    from blocks.ledger.approvals_key import check_key
    from blocks.one_time_code import confirm
    from deployments.cli.new_device import show_new_seed

    check_key()
    seed = show_new_seed(name)
    return seed, _ask_until_right(connection, name, lambda code: confirm(seed, code))


def _ask_until_right(connection: Connection, name: str, check: Callable[[str], T]) -> T:
    """What `check` makes of the first code that it takes. Every other one is recorded, and the third was the last."""
    for _ in range(CODES):
        try:
            return check(ask_code(name))
        except WrongCode as error:
            _record_refusal(connection, name)
            print(error.message, file=sys.stderr)
    raise WrongCode(
        f"None of {CODES} codes was right.",
        f"The clocks of the device and of this machine must not differ by more than 30 s. {WrongCode.hint}",
    )


def _record_refusal(connection: Connection, name: str) -> None:
    detail = {"source": "terminal", "name": name}
    trail.append(connection, "code refused", run_id="", environment="", actor=getpass.getuser(), detail=detail)
