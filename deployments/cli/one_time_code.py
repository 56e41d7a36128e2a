"""Asking a person for a one-time code: never on the command line, where everybody on the machine could read it."""

import getpass
import sys

from blocks.errors import Refused


def ask_code(name: str) -> str:
    """What was typed, unseen, at the terminal; a line of standard input where that is none.

    Raises Refused at the end of the input.
    """
    prompt = f"One-time code of {name}: "
    try:
        typed = getpass.getpass(prompt) if sys.stdin.isatty() else _read_line()
    except EOFError:
        raise Refused(f"Nobody gave the one-time code of {name}.") from None
    return typed.strip()


def _read_line() -> str:
    line = sys.stdin.buffer.readline()
    if not line:
        raise EOFError
    return line.decode(errors="replace")
