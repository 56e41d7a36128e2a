import argparse
import getpass

from blocks.ledger.connection import Connection, connect
from blocks.ledger.fence import read_abandoned
from blocks.ledger.settlement import settle
from deployments.cli.exit_codes import ExitCode

HELP = (
    "Finish whatever dead runs left armed, now, instead of waiting for the supervisor. "
    "Safe to start at any time: without anything armed nothing happens."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("environment", nargs="?", default="", help="only this one (default: all)")
    parser.add_argument(
        "--settled",
        metavar="RUN",
        help="do not recover: say that you have put right by hand what this run could not; status stops showing it",
    )
    parser.add_argument("--timeout", type=float, default=600, metavar="SECONDS", help="for each environment")


def run(arguments: argparse.Namespace) -> int:
    from deployments.surroundings import use_stack_if_none

    use_stack_if_none()
    with connect("recover") as connection:
        if arguments.settled:
            return _settle(connection, arguments.settled)
        abandoned = [found for found in read_abandoned(connection) if arguments.environment in ("", found.environment)]
    if not abandoned:
        print("Nothing is left armed.")
        return ExitCode.DONE
    return max(_recover(found.environment, found.epoch, arguments.timeout) for found in abandoned)


def _settle(connection: Connection, run_id: str) -> int:
    environments = settle(connection, run_id, getpass.getuser())
    if not environments:
        print(f"Run {run_id} left nothing that needs a human.")
        return ExitCode.REFUSED
    print(f"Settled by hand in {', '.join(environments)}.")
    return ExitCode.DONE


def _recover(environment: str, epoch: int, timeout: float) -> int:
    from deployments.cli.run import CODES
    from deployments.follow import follow
    from deployments.prefect_api import PrefectApi
    from deployments.supervisor import start_recover

    api = PrefectApi()
    run_id = start_recover(environment, epoch).run_id
    print(f"recover {environment}: {api.link(run_id)}", flush=True)
    ended = follow(api, run_id, timeout, lambda seconds, what: print(f"{seconds:6.1f} s  {what}", flush=True))
    if ended is None:
        return ExitCode.TIMEOUT
    print(f"{ended.ending}: {ended.message}")
    return CODES.get(ended.ending, ExitCode.NEEDS_A_HUMAN)
