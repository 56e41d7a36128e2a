"""Has Prefect and every procedure imported, and forks the processes of runs: `python -m deployments.run_starter`.

Importing takes more than a second, a fork some milliseconds. It has one thread, since only then forking is safe. Each
run has a keeper, a fork too, which ends the run's process when its `deployments.begin_run` dies. All die with the run
starter. Linux only.
"""

import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from runpy import run_module
from types import FrameType
from typing import NoReturn

import yaml
from prefect.context import refresh_global_settings_context

from deployments.apply import ROOT
from deployments.begin_run import ADDRESS, ENGINE, PASSED_ON

_PACKAGES = ("blocks", "tasks", "flows", "deployments")
_PR_SET_PDEATHSIG = 1
_MOST_BYTES = 1 << 20
_DESCRIPTORS = 4
"""A run's input, output and errors, and the folder in which it works."""


def main() -> None:
    began, began_in = time.time_ns(), os.getcwd()
    for one in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]:
        import_module(one["entrypoint"].rpartition(".")[0])
    # What was written while it was imported may be imported in part: it counts as changed.
    imported = {file: at if at < began else 0 for file, at in _read_times(_watched()).items()}
    gc.freeze()  # collecting would copy pages that all share
    signal.signal(signal.SIGCHLD, _reap)
    listener = _listen()
    while True:
        asker, _ = listener.accept()
        if _read_times(imported) != imported:
            break  # what is on disk is something else: `begin_run` gets no answer, and imports that itself
        starter, forked = os.getpid(), _fork()
        if forked == 0:
            listener.close()
            _die_with(starter)
            _keep(asker)
        asker.close()
    os.unlink(ADDRESS)
    listener.close()
    _wait_for_keepers()  # if what is on disk cannot be imported, that ends nobody's run
    os.chdir(began_in)
    os.execv(sys.executable, [sys.executable, "-m", "deployments.run_starter"])  # noqa: S606 (no shell)


def _listen() -> socket.socket:
    """Whoever may enter the state folder may ask."""
    os.chdir(os.environ["BACKSTOP_STATE"])
    with suppress(FileNotFoundError):
        os.unlink(ADDRESS)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(ADDRESS)
    listener.listen()
    return listener


def _fork() -> int:
    """As os.fork; -1 where the system has no room for another process, which is no reason to end those that run."""
    try:
        return os.fork()
    except OSError:
        return -1


def _reap(_number: int, _frame: FrameType | None) -> None:
    """Keepers that have ended. Not ignored, which would do it too: then nobody could tell what runs have used."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _wait_for_keepers() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _keep(asker: socket.socket) -> NoReturn:
    """Begin the run that is asked for, and say how its process ended. Returns in no process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    content, descriptors, _, _ = socket.recv_fds(asker, _MOST_BYTES, _DESCRIPTORS)
    if not content:
        os._exit(0)
    keeper, pid = os.getpid(), os.fork()
    if pid == 0:
        asker.close()
        _die_with(keeper)
        _run(json.loads(content), descriptors)
    for descriptor in descriptors:
        os.close(descriptor)
    with suppress(OSError):  # it has waited for too long: see below
        asker.send(str(pid).encode())
    process = os.pidfd_open(pid)
    ended, _, _ = select.select([asker.fileno(), process], [], [])
    if process not in ended:
        os.kill(pid, signal.SIGKILL)  # `begin_run` is gone
    _, status = os.waitpid(pid, 0)
    with suppress(OSError):
        asker.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _run(variables: dict[str, str], descriptors: list[int]) -> NoReturn:
    """Become what the worker would have started. Raises SystemExit at its end."""
    *streams, folder = descriptors
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    os.fchdir(folder)
    for descriptor in descriptors:
        os.close(descriptor)
    for number in PASSED_ON:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(variables)
    time.tzset()
    tempfile.tempdir = None  # what it found for other variables
    refresh_global_settings_context()
    sys.argv = [ENGINE]
    run_module(ENGINE, run_name="__main__", alter_sys=True)
    sys.exit(0)


def _die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _watched() -> list[str]:
    """Of what is imported, that which changes with the checkout; and the folder of the libraries."""
    own = (module for name, module in sys.modules.items() if name.partition(".")[0] in _PACKAGES)
    return [sysconfig.get_path("purelib"), *(module.__file__ for module in own if module.__file__)]


def _read_times(files: Iterable[str]) -> dict[str, int]:
    """When each was written; 0 where it is gone."""
    return {file: _written_at(file) for file in files}


def _written_at(file: str) -> int:
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return 0


if __name__ == "__main__":
    main()
