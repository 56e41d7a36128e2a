import argparse

from deployments.cli.exit_codes import ExitCode
from deployments.stack.progress import say_waiting, shown_progress
from deployments.stack.state import State
from deployments.stack.stop import bring_down, purge

HELP = "End the embedded stack: exactly the processes that `backstop up` started. Its data stays."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--purge", action="store_true", help="delete the stack's data and secrets as well")


def run(arguments: argparse.Namespace) -> int:
    state = State.of_surroundings()
    if not state.exists:
        print("Nothing to end: there is no stack here.")
        return ExitCode.DONE
    with state.locked(waiting=say_waiting):
        with shown_progress() as progress:
            ended = bring_down(state, progress)
        if arguments.purge:
            purge(state)
    print("Down." if ended else "Nothing was running.")
    if arguments.purge:
        print(f"Deleted {state.folder}.")
    return ExitCode.DONE
