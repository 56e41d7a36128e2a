import argparse
from pathlib import Path

from deployments.cli.exit_codes import ExitCode

HELP = (
    "Bring environment files and all deployments into Prefect, and the ledger's tables up to date. "
    "Shows what differs, then saves it. "
    "Applying the same file again changes nothing."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="environment files")
    parser.add_argument("--check", action="store_true", help="show the difference only; exits with 1 when there is one")


def run(arguments: argparse.Namespace) -> int:
    from deployments.surroundings import use_stack_if_none

    use_stack_if_none()
    from blocks.ledger.connection import migrate_ledger
    from deployments.apply import apply
    from deployments.environment_file import read_environment_file

    for path in arguments.files:
        read_environment_file(path)
    if not arguments.check:
        migrate_ledger()
    differences = apply(arguments.files, arguments.check)
    for line in differences:
        print(line)
    if not differences:
        print("Nothing differs.")
    elif not arguments.check:
        print("Applied.")
    return ExitCode.REFUSED if differences and arguments.check else ExitCode.DONE
