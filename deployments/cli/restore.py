import argparse
import os
from pathlib import Path

from blocks.errors import Refused
from deployments.cli import run as run_command
from deployments.stack.procedures import prepare_procedures
from deployments.stack.progress import say_waiting, shown_progress
from deployments.stack.start import Starter
from deployments.stack.state import State
from deployments.stack.stop import bring_down
from deployments.stack.surroundings import describe_surroundings

HELP = (
    "Restore with the ledger and Prefect gone: brings up a ledger, a Prefect and a worker of its own beside everything "
    "else, runs restore-and-verify there, with its plan, its undo and its report, and ends them again. What the "
    "environment file refers to must be set here. Exit codes are those of `backstop run`."
)
_PROCEDURE = "restore-and-verify"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="environment file, as shop-production.yaml")
    parser.add_argument("--offline", action="store_true", help="needed: says that ledger and Prefect are gone")
    parser.add_argument(
        *("-p", "--parameter"),
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"a parameter of {_PROCEDURE}, as accept_loss=unknown",
    )
    parser.add_argument("--plan", action="store_true", help="show the plan, change nothing")
    parser.add_argument(
        "--journal",
        type=Path,
        metavar="FOLDER",
        help="where its ledger and reports are kept (default: beside the state folder, as .backstop-offline)",
    )


def run(arguments: argparse.Namespace) -> int:
    if not arguments.offline:
        raise Refused(
            "With a ledger and Prefect at hand a restore is a procedure like the others.",
            f"backstop run {_PROCEDURE} ENVIRONMENT --wait. Without them: --offline. Nothing was changed.",
        )
    if not arguments.file.is_file():
        raise Refused(f"There is no file {arguments.file}.", "Name the environment's file. Nothing was changed.")
    state, ended = _state(arguments.journal), False
    again = f"BACKSTOP_STATE={state.folder} backstop up --bare"
    try:
        code = _follow(arguments, _bring_up(state, arguments.file))
        ended = True
        return code
    finally:
        with state.locked(waiting=say_waiting), shown_progress() as progress:
            bring_down(state, progress)
        if not ended:
            print(f"The restore was not followed to its end. What it left is put back by: {again}, with the same")
            print("variables set as for this command.")
        print(f"Its audit trail: {again}, then backstop audit.")


def _state(journal: Path | None) -> State:
    usual = State.of_surroundings().folder
    return State((journal or usual.with_name(f"{usual.name}-offline")).resolve())


def _bring_up(state: State, file: Path) -> str:
    """The name of the environment, which is applied there."""
    with state.locked(waiting=say_waiting), shown_progress() as progress:
        layout, _ = Starter(state, progress, sample=False).bring_up()
        # Prefect reads its settings once, when it is imported: here, not before.
        os.environ.update(describe_surroundings(layout))
        os.environ["BACKSTOP_SCHEDULES"] = "paused"  # nothing but this restore
        from deployments.environment_file import read_environment_file

        name, _ = read_environment_file(file)
        prepare_procedures(layout, [file])
    return name


def _follow(arguments: argparse.Namespace, environment: str) -> int:
    parser = argparse.ArgumentParser()
    run_command.add_arguments(parser)
    parameters = [word for text in arguments.parameter for word in ("-p", text)]
    words = [_PROCEDURE, environment, *parameters, "--wait", *(["--plan"] if arguments.plan else [])]
    return run_command.run(parser.parse_args(words))
