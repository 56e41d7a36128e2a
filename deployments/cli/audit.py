import argparse
import json
from typing import Any

from blocks.evidence import Evidence
from blocks.ledger import trail
from blocks.ledger.connection import Connection, connect
from deployments.cli.exit_codes import ExitCode

HELP = (
    "Print the audit trail, oldest first. With --verify, prove instead that nothing in it was edited, removed, "
    "reordered or computed anew since its heads were anchored in the evidence store; exits with 1 if it was."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--verify", action="store_true", help="check the chain and its anchored heads")
    parser.add_argument("--break-glass", action="store_true", help="only what one person let through alone, and why")
    parser.add_argument("--run", metavar="ID", default="", help="only the rows of one run")
    parser.add_argument(
        "--last", type=int, default=200, metavar="N", help="how many rows, the newest ones (default 200)"
    )
    parser.add_argument("--json", action="store_true", help="a JSON object a line, whole, for export")


def run(arguments: argparse.Namespace) -> int:
    from deployments.surroundings import use_stack_if_none

    use_stack_if_none()
    with connect("audit") as connection:
        if arguments.verify:
            return _verify(connection)
        for row in _read(connection, arguments):
            print(json.dumps(row) if arguments.json else _line(row))
    return ExitCode.DONE


def _verify(connection: Connection) -> int:
    findings = trail.verify(connection, Evidence.from_surroundings())
    for finding in findings:
        print(finding)
    if findings:
        return ExitCode.REFUSED
    print(f"The trail is whole: {trail.read_head(connection)[0]} rows, each following the one before it.")
    return ExitCode.DONE


def _read(connection: Connection, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    return connection.execute(
        "SELECT * FROM (SELECT * FROM audit WHERE (%(run)s = '' OR run_id = %(run)s)"
        " AND (NOT %(glass)s OR (event = 'decision' AND detail->>'verdict' = 'break glass'))"
        " ORDER BY sequence DESC LIMIT %(last)s) newest ORDER BY sequence",
        {"run": arguments.run, "glass": arguments.break_glass, "last": max(arguments.last, 0)},
    ).fetchall()


def _line(row: dict[str, Any]) -> str:
    detail = json.dumps(row["detail"])
    shown = detail if len(detail) <= 160 else f"{detail[:157]}…"
    return f"{row['sequence']:>6}  {row['at'][:19]}  {row['run_id'][:8]}  {row['environment']}  {row['event']}  {shown}"
