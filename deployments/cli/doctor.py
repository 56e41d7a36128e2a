import argparse
import json

from deployments.cli.exit_codes import ExitCode

HELP = (
    "Look whether everything that an environment names can be reached, and allows what procedures need. Changes "
    "nothing. Run it where the worker runs, as the worker: references are looked up here. Exits with 1 when something "
    "is not as it should be."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("environments", nargs="*", metavar="ENVIRONMENT", help="which; without any: all")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    from deployments.surroundings import use_stack_if_none

    use_stack_if_none()
    from blocks.environment import load_environment
    from blocks.ledger.connection import connect
    from deployments.prefect_api import PrefectApi
    from tasks.examination import examine

    with connect("doctor"):  # raises LedgerUnreachable
        pass
    applied = sorted(str(document["name"]) for document in PrefectApi().read_blocks("environment"))
    named = arguments.environments or applied
    found = {name: examine(load_environment(name)) for name in named}
    if arguments.json:
        shown = {name: [check.model_dump() for check in checks] for name, checks in found.items()}
        print(json.dumps(shown, indent=2))
    else:
        print("The ledger and Prefect answer." if named else "No environment was applied yet: `backstop apply FILE`.")
        for name, checks in found.items():
            print(f"\n{name}")
            for check in checks:
                print(f"  {'ok' if check.passed else 'FAILS':<6} {check.name:<24} {check.detail}")
                if check.hint:
                    print(f"  {'':<6} {'':<24} → {check.hint}")
    return ExitCode.DONE if all(check.passed for checks in found.values() for check in checks) else ExitCode.REFUSED
