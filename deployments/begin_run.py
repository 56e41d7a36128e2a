"""The process of one run, as a worker starts it: `python -m deployments.begin_run`.

It has the run starter fork a process that has imported everything already, passes signals on to it, and ends as that
one does. Where no run starter answers, it becomes the run's process itself.
"""

import json
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import NoReturn

ENGINE = "prefect.engine"
ADDRESS = "run-starter.sock"
"""In the state folder that BACKSTOP_STATE names. It is bound and reached from there: a whole path may be too long."""
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_STREAMS = (0, 1, 2)
_MOST_BYTES = 64
_SECONDS = 10
"""How long the starter may take to fork."""


def main() -> None:
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    starter = _connect()
    pid = _ask(starter, folder) if starter else 0
    if starter is None or pid == 0:
        os.fchdir(folder)
        os.execv(sys.executable, [sys.executable, "-m", ENGINE])  # noqa: S606 (no shell, nothing from outside)
    for passed_on in PASSED_ON:
        signal.signal(passed_on, lambda number, _: _pass_on(pid, number))
    starter.settimeout(None)
    _end_as(int(starter.recv(_MOST_BYTES) or 1))


def _pass_on(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):  # it ends at this moment
        os.kill(pid, number)


def _connect() -> socket.socket | None:
    try:
        os.chdir(os.environ["BACKSTOP_STATE"])
        starter = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        starter.settimeout(_SECONDS)
        starter.connect(ADDRESS)
    except (KeyError, OSError):
        return None
    return starter


def _ask(starter: socket.socket, folder: int) -> int:
    """The pid of the forked process; 0 where it could not be had."""
    try:
        socket.send_fds(starter, [json.dumps(dict(os.environ)).encode()], [*_STREAMS, folder])
        return int(starter.recv(_MOST_BYTES) or 0)
    except OSError:
        return 0


def _end_as(code: int) -> NoReturn:
    """With an exit code, or, below zero, by a signal of that number."""
    if code < 0:
        with suppress(OSError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main()
