import argparse
import os
import shlex
from pathlib import Path

from blocks.errors import BadParameter, Refused
from blocks.escrow import Escrow, open_escrow, seal_escrow
from deployments.cli.exit_codes import ExitCode

HELP = (
    "The escrow of an environment: what cannot be rebuilt when everything but the backup store and the code is lost. "
    "The environment file, the value of every reference in it, Backstop's own keys, and the variables that the "
    "application runs with, sealed with age for keys that are kept offline."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(title="actions", dest="action", metavar="ACTION", required=True)
    make = actions.add_parser("make", help="seal one, and say what is in it")
    make.add_argument("file", type=Path, metavar="FILE", help="environment file, as shop-production.yaml")
    make.add_argument(
        *("--for", "--recipient"),
        dest="recipients",
        action="append",
        required=True,
        metavar="PUBLIC-KEY",
        help="age1… or ssh; each one's private key opens it alone. Give several",
    )
    make.add_argument("--output", type=Path, required=True, metavar="ESCROW", help="where it is written")
    for action, summary in {
        "list": "say what is in one: names, never values",
        "unpack": "write out what is in one, on the new machine",
    }.items():
        opening = actions.add_parser(action, help=summary)
        opening.add_argument("escrow", type=Path, metavar="ESCROW")
        opening.add_argument("--identity", type=Path, required=True, metavar="KEY", help="file with a private key")
        if action == "unpack":
            opening.add_argument(
                "--into", type=Path, required=True, metavar="FOLDER", help="a folder that is not there"
            )


def run(arguments: argparse.Namespace) -> int:
    return {"make": _make, "list": _list, "unpack": _unpack}[arguments.action](arguments)


def _make(arguments: argparse.Namespace) -> int:
    from deployments.surroundings import use_stack_if_none

    is_stack = "PREFECT_API_URL" not in os.environ
    use_stack_if_none()
    from deployments.escrow import fill_escrow
    from deployments.stack.credentials import read_credentials
    from deployments.stack.state import State, write_private

    if is_stack:  # no worker needs it, so it is not among the variables
        os.environ["PREFECT_SERVER_ENCRYPTION_KEY"] = read_credentials(State.of_surroundings()).prefect_encryption_key

    escrow = fill_escrow(arguments.file)
    try:
        sealed = seal_escrow(escrow, arguments.recipients)
    except ValueError as error:
        raise BadParameter("--for", ", ".join(arguments.recipients), str(error)) from None
    write_private(arguments.output, sealed.decode())
    _tell(escrow)
    print(f"Sealed for {len(arguments.recipients)} keys in {arguments.output}. Keep it, and the private keys, offline.")
    return ExitCode.DONE


def _list(arguments: argparse.Namespace) -> int:
    _tell(_opened(arguments))
    return ExitCode.DONE


def _unpack(arguments: argparse.Namespace) -> int:
    from deployments.escrow import write_out
    from deployments.stack.state import write_private

    escrow, folder = _opened(arguments), arguments.into
    if folder.exists():
        raise Refused(f"{folder} exists.", "Name a folder that is not there. Nothing was written.")
    folder.mkdir(mode=0o700, parents=True)
    file, variables = write_out(escrow, folder.resolve())
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()]
    write_private(folder / "variables", "".join(lines))
    application = [f"{name}={shlex.quote(value)}\n" for name, value in escrow.application.items()]
    write_private(folder / "application", "".join(application))
    print(f"Environment file  {file}")
    print(f"Its references    {folder / 'variables'}   (`. {folder / 'variables'}` sets them; correct the addresses)")
    print(f"Application       {folder / 'application'}   (the platform's variables)")
    print(f"Code              {escrow.repository}")
    return ExitCode.DONE


def _opened(arguments: argparse.Namespace) -> Escrow:
    try:
        content, identity = arguments.escrow.read_bytes(), arguments.identity.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"{arguments.escrow} or {arguments.identity} cannot be read: {error}.") from None
    return open_escrow(content, identity)


def _tell(escrow: Escrow) -> None:
    print(f"{escrow.environment}, as of {escrow.made_at:%Y-%m-%d %H:%M} UTC")
    print("its environment file, and where its code is")
    for title, names in (("references", escrow.references), ("application", escrow.application)):
        print(f"{title}: {', '.join(names) or 'none'}")
