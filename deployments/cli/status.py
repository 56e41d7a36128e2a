import argparse
import json

from deployments.cli.exit_codes import ExitCode
from deployments.stack.state import State
from deployments.stack.status import ComponentStatus, read_components

HELP = "Show the parts of the embedded stack. Exits with 1 when one of them does not run."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    components = read_components(State.of_surroundings())
    if arguments.json:
        print(json.dumps({"components": [status.model_dump(mode="json") for status in components]}, indent=2))
    else:
        _show(components)
    all_run = components and all(status.state == "running" for status in components)
    return ExitCode.DONE if all_run else ExitCode.REFUSED


def _show(components: list[ComponentStatus]) -> None:
    if not components:
        print("The stack is down. `backstop up` starts it.")
    for status in components:
        if status.since is None:
            print(f"{status.name:<16} {status.state}")
            continue
        since = f"{status.since.astimezone():%Y-%m-%d %H:%M:%S}"
        print(
            f"{status.name:<16} {status.state:<9} pid {status.pid:<8} {status.memory_mb:>5} MB"
            f"   since {since}   {status.address}"
        )
