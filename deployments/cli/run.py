import argparse
import getpass
import json
import os
import sys
from typing import Any
from uuid import uuid4

from blocks.errors import BackstopError, BadParameter
from deployments.cli.exit_codes import ExitCode
from deployments.follow import Ended, follow
from deployments.prefect_api import PrefectApi, PrefectAway

HELP = (
    "Start a procedure in an environment. With --wait, follow it to its ending; the exit code tells how it "
    "ended: 0 done, 1 refused before any change, 3 rolled back, 4 needs a human, 5 not approved, 6 still waiting."
)

CODES = {
    "Done": ExitCode.DONE,
    "Refused": ExitCode.REFUSED,
    "Not approved": ExitCode.NOT_APPROVED,
    "Rolled back": ExitCode.ROLLED_BACK,
    "Needs a human": ExitCode.NEEDS_A_HUMAN,
}


class Usage(BackstopError):
    """The words of the command are off."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("procedure", help="as deploy, roll-back-deploy, health-check")
    parser.add_argument("environment", help="as shop-production")
    parser.add_argument(
        "-p",
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the procedure",
    )
    parser.add_argument("--plan", action="store_true", help="show the plan, change nothing (implies --wait)")
    parser.add_argument("--wait", action="store_true", help="follow the run to its ending")
    parser.add_argument(
        "--timeout", type=float, metavar="SECONDS", help="stop waiting after this long; the run goes on"
    )
    parser.add_argument(
        "--idempotency-key", metavar="KEY", help="the same key again gives the same run, as a CI job's id"
    )
    parser.add_argument("--json", action="store_true", help="print the result for programs")


def run(arguments: argparse.Namespace) -> int:
    from deployments.surroundings import use_stack_if_none

    use_stack_if_none()
    api = PrefectApi()
    try:
        deployment, parameters = _prepare(api, arguments)
    except Usage as error:
        print(f"backstop: {error}", file=sys.stderr)
        return ExitCode.USAGE
    key = arguments.idempotency_key or str(uuid4())
    try:
        return _start(api, deployment, parameters, key, arguments)
    except PrefectAway as error:
        print(f"backstop: {error} What became of the run cannot be told from here.", file=sys.stderr)
        print(f"The same command with --idempotency-key {key} finds it, or starts it.", file=sys.stderr)
        return ExitCode.TIMEOUT


def _start(
    api: PrefectApi, deployment: str, parameters: dict[str, Any], key: str, arguments: argparse.Namespace
) -> int:
    run_id = api.create_run(deployment, parameters, key)
    if not arguments.json:
        print(f"{arguments.procedure} {arguments.environment}: {api.link(run_id)}", flush=True)
    if not (arguments.wait or arguments.plan):
        return _show(arguments, run_id, api, None) if arguments.json else ExitCode.DONE
    ended = follow(api, run_id, arguments.timeout, _silent if arguments.json else _tell)
    return _show(arguments, run_id, api, ended)


def _prepare(api: PrefectApi, arguments: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    deployment = api.read_deployment(arguments.procedure)
    if deployment is None:
        raise Usage(
            f"There is no procedure '{arguments.procedure}'.",
            f"There are: {', '.join(api.read_procedures())}.",
        )
    fields = deployment["parameter_openapi_schema"]["properties"]
    known = fields["environment"].get("enum")
    if known is not None and arguments.environment not in known:
        raise BadParameter("environment", arguments.environment, ", ".join(known) or "none: apply one first")
    parameters: dict[str, Any] = {"environment": arguments.environment}
    for text in arguments.parameter:
        name, equals, value = text.partition("=")
        if not equals or name not in fields or name == "environment":
            others = ", ".join(field for field in fields if field != "environment")
            raise Usage(
                f"'{text[:80]}' is no parameter of {arguments.procedure}.",
                f"There are: {others} (NAME=VALUE).",
            )
        parameters[name] = _converted(name, value, fields[name])
    if "plan_only" in fields and arguments.plan:
        parameters["plan_only"] = True
    elif arguments.plan:
        raise Usage(f"{arguments.procedure} makes no plan.", "Nothing was started.")
    if "requested_by" in fields:
        parameters.setdefault("requested_by", os.environ.get("BACKSTOP_REQUESTED_BY") or getpass.getuser())
    return str(deployment["id"]), parameters


def _converted(name: str, value: str, field: dict[str, Any]) -> Any:
    kind = field.get("type", "string")
    if kind == "string":
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise BadParameter(name, value, f"a JSON value of type {kind}, as true or 5") from None


def _show(arguments: argparse.Namespace, run_id: str, api: PrefectApi, ended: Ended | None) -> int:
    code = CODES.get(ended.ending, ExitCode.NEEDS_A_HUMAN) if ended else ExitCode.TIMEOUT
    if arguments.json:
        result = {
            "run": run_id,
            "link": api.link(run_id),
            "ending": None,
            "message": "",
            "exit_code": int(code),
        }
        if ended:
            result.update(ending=ended.ending, message=ended.message)
        elif not arguments.wait:
            result.update(exit_code=0)
            code = ExitCode.DONE
        print(json.dumps(result))
    elif ended:
        print(f"{ended.ending}: {ended.message}")
    else:
        print(f"Still waiting after {arguments.timeout:g} s; the run goes on.")
    return code


def _tell(seconds: float, what: str) -> None:
    print(f"{seconds:6.1f} s  {what}", flush=True)


def _silent(seconds: float, what: str) -> None:
    pass
