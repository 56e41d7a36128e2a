"""`backstop`: the command line. Each command is a module of this package, loaded only when it is named.

A command's module has HELP (what `backstop COMMAND --help` says), `add_arguments(parser)` and
`run(arguments)`, which returns the exit code.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

from blocks.errors import BackstopError
from deployments.cli.exit_codes import ExitCode

COMMANDS = {
    "demo": "see a good deploy, and a bad one that is caught and rolled back",
    "up": "start the embedded stack: PostgreSQL, Redis, Prefect, a worker, a sample service",
    "down": "end the embedded stack",
    "apply": "bring environment files and deployments into Prefect",
    "run": "start a procedure in an environment, and follow it",
    "approve": "decide about a run that waits for an approval",
    "restore": "restore with the ledger and Prefect gone",
    "escrow": "keep what a total loss would take along, sealed for keys that are offline",
    "status": "show what runs, and how every environment stands",
    "doctor": "look whether all that an environment names can be reached, and allows what is needed",
    "approvers": "say who may approve, and give them their one-time codes",
    "recover": "finish what dead runs left armed, now",
    "audit": "print the audit trail, or prove that nothing in it was altered",
}


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    # A script that starts us in the background has it ignored, and so would every process that we start:
    # no run of the worker could be cancelled.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return _run(words)
    except BackstopError as error:
        print(f"backstop: {error.message}", file=sys.stderr)
        if error.hint:
            print(error.hint, file=sys.stderr)
        return ExitCode.REFUSED
    except KeyboardInterrupt:
        print("backstop: interrupted", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except SystemExit as ended:  # argparse has said why
        return int(ended.code or 0)


def _run(words: list[str]) -> int:
    name = words[0] if words else ""
    if name not in COMMANDS:
        _overview().parse_args(words or ["--help"])
        return ExitCode.USAGE
    command = import_module(f"{__name__}.{name}")
    parser = argparse.ArgumentParser(prog=f"backstop {name}", description=command.HELP)
    command.add_arguments(parser)
    return int(command.run(parser.parse_args(words[1:])))


def _overview() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="backstop",
        usage="backstop [-h] [--version] COMMAND ...",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Operations runbooks that run themselves and put things back.",
        epilog="\n".join(
            [
                "commands:",
                *(f"    {name:<10} {summary}" for name, summary in COMMANDS.items()),
                "\n`backstop COMMAND --help` tells more about one.",
            ]
        ),
    )
    parser.add_argument("--version", action="version", version=f"backstop {version('backstop')}")
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS, help="one of those below")
    return parser
