"""The processes of releases: begun in a session of their own, so that they outlive the daemon."""

import os
import random
import signal
import socket
import subprocess
from collections.abc import Container
from contextlib import suppress
from pathlib import Path

import psutil

from deployments.sandbox.state import Replica, private

_PORTS = range(20000, 32000)
"""Below the range that Linux gives to outgoing connections: none of those can be in the way."""

_SAME_MOMENT = 1.0
"""Seconds. The clock's start is known to Linux in whole ones."""


def free_port(taken: Container[int]) -> int:
    """Raises OSError when no port is free."""
    for port in random.sample(_PORTS, 500):
        with suppress(OSError), socket.socket() as probe:
            if port not in taken:
                probe.bind(("127.0.0.1", port))
                return port
    raise OSError("no free port")


def begin(argv: list[str], checkout: Path, log: Path, variables: dict[str, str], port: int) -> subprocess.Popen[bytes]:
    """Start a replica with nothing but its variables in its environment.

    Raises OSError when the program cannot be started.
    """
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONUNBUFFERED": "1",
        **variables,
        "PORT": str(port),
    }
    with open(log, "ab", opener=private) as output:
        return subprocess.Popen(
            argv,
            cwd=checkout,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def is_alive(replica: Replica) -> bool:
    """A zombie is dead, and so is a pid that was given to somebody else."""
    if replica.pid is None:
        return False
    try:
        process = psutil.Process(replica.pid)
        same = abs(process.create_time() - replica.created) <= _SAME_MOMENT
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def send(replica: Replica, number: signal.Signals) -> None:
    """To the replica and to every process that it made."""
    if is_alive(replica) and replica.pid:
        with suppress(ProcessLookupError):
            os.killpg(replica.pid, number)


def kill_group(pid: int) -> None:
    """What is left of the group whose leader ended a moment ago."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def created_at(pid: int) -> float:
    """Zero when it is already gone."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).create_time()
    return 0


def find(replica: Replica, checkout: Path) -> None:
    """Fill in the pid of a replica that was begun by a daemon that died before it knew it."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            began_there = process.cwd() == str(checkout) and os.getsid(process.pid) == process.pid
            if began_there and process.environ().get("PORT") == str(replica.port):
                replica.pid, replica.created = process.pid, process.create_time()
                return
