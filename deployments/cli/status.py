import argparse
import json
import os

from blocks.errors import BackstopError
from deployments.cli.exit_codes import ExitCode
from deployments.stack.state import State
from deployments.stack.status import ComponentStatus, read_components
from deployments.standing import Standing, read_standings
from deployments.surroundings import use_stack_if_none

HELP = (
    "Show the parts of the embedded stack, and how every environment stands: its release, who holds it, what is "
    "armed, which objectives are broken, whether its last recovery drill passed, what needs a human. Exits with 1 "
    "when a part does not run, with 4 when an environment needs a human."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    embedded = "PREFECT_API_URL" not in os.environ
    components = read_components(State.of_surroundings()) if embedded else []
    standings, trouble = _standings() if components or not embedded else ([], "")
    if arguments.json:
        shown = {
            "components": [status.model_dump(mode="json") for status in components],
            "environments": [standing.model_dump(mode="json") for standing in standings],
            "trouble": trouble,
        }
        print(json.dumps(shown, indent=2))
    else:
        _show(components, standings, trouble, embedded)
    if any(standing.needs_a_human for standing in standings):
        return ExitCode.NEEDS_A_HUMAN
    runs = all(part.state == "running" for part in components) and (components or not embedded)
    return ExitCode.DONE if runs and not trouble else ExitCode.REFUSED


def _standings() -> tuple[list[Standing], str]:
    """With the reason where they cannot be read: the parts are shown all the same."""
    try:
        use_stack_if_none()
        return read_standings(), ""
    except BackstopError as error:
        return [], str(error)


def _show(components: list[ComponentStatus], standings: list[Standing], trouble: str, embedded: bool) -> None:
    if embedded and not components:
        print("The stack is down. `backstop up` starts it.")
    for status in components:
        _show_component(status)
    for standing in standings:
        print(f"\n{standing.environment:<16} {standing.release or 'says no version'}")
        print(f"{'':<16} last run   {standing.last_run or 'none'}")
        print(f"{'':<16} held by    {standing.held_by or 'nobody'}")
        if standing.backups:
            print(f"{'':<16} backups    {standing.backups}")
        print(f"{'':<16} drills     {standing.drills}")
        if standing.secrets:
            print(f"{'':<16} secrets    {', '.join(standing.secrets)}")
        lines = (
            ("broken", standing.broken),
            ("not ready", standing.not_ready),
            ("waits", standing.waits),
            ("armed", standing.armed),
            ("HUMAN", standing.needs_a_human),
        )
        for name, entries in lines:
            for entry in entries:
                print(f"{'':<16} {name:<10} {entry}")
    if trouble:
        print(f"\nThe environments cannot be read: {trouble}")


def _show_component(status: ComponentStatus) -> None:
    if status.since is None:
        print(f"{status.name:<16} {status.state}")
        return
    since = f"{status.since.astimezone():%Y-%m-%d %H:%M:%S}"
    print(
        f"{status.name:<16} {status.state:<9} pid {status.pid:<8} {status.memory_mb:>5} MB"
        f"   since {since}   {status.address}"
    )
