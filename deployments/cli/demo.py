import argparse
import signal
import sys

from deployments.cli.exit_codes import ExitCode
from deployments.stack.state import State

HELP = (
    "Bring the embedded stack up and see a good deploy, a bad one that is caught and rolled back, and a health "
    "check, step by step. Ends the stack again, unless it was up before. Exits with 4 when the story did not end "
    "as it should, or when a visitor's request failed that should not have."
)
_PLAIN_WIDTH = 140
"""Columns, where the output is not a terminal: a link is not folded."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keep", action="store_true", help="leave the stack up, to look around in the UI")


def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from deployments.demo.performance import perform
    from deployments.demo.stage import is_up, stack

    # However the demo is ended, it ends what it brought up.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    state = State.of_surroundings()
    tear_down = not (arguments.keep or is_up(state))
    with stack(state, tear_down) as layout:
        went_well = perform(layout, Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH))
    if tear_down:
        print("The stack is down. `backstop up` brings these pages back, `backstop down --purge` deletes everything.")
    else:
        print(f"Look around: {layout.interface_url}   (log in with the line in {state.folder / 'prefect-login'})")
        print("`backstop down` ends the stack.")
    return ExitCode.DONE if went_well else ExitCode.NEEDS_A_HUMAN
