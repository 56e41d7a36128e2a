import argparse

from deployments.cli.exit_codes import ExitCode
from deployments.stack.procedures import prepare_procedures
from deployments.stack.progress import Stopwatch, say_waiting, shown_progress
from deployments.stack.start import Starter
from deployments.stack.state import State

HELP = (
    "Start whatever of the embedded stack does not run yet, and wait until it is ready. "
    "It listens on 127.0.0.1 only and keeps everything in one folder: BACKSTOP_STATE, or .backstop."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bare", action="store_true", help="without the sample service, its database and its Redis")


def run(arguments: argparse.Namespace) -> int:
    state, stopwatch = State.of_surroundings(), Stopwatch()
    with state.locked(waiting=say_waiting), shown_progress() as progress:
        layout, started = Starter(state, progress, sample=not arguments.bare).bring_up()
        if started:
            prepare_procedures(layout)
    print(f"Ready in {stopwatch}." if started else "Already up: nothing to do.")
    print(f"Prefect   {layout.interface_url}   (log in with the line in {state.folder / 'prefect-login'})")
    if layout.sample:
        print(f"Shop      {layout.front_url('production')}   (staging: {layout.front_url('staging')})")
    return ExitCode.DONE
