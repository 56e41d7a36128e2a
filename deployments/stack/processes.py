"""The stack's processes: started in a session of their own, told apart by pid and time of birth."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Set
from contextlib import suppress
from pathlib import Path

import psutil

from deployments.stack.component import Component
from deployments.stack.record import Launched
from deployments.stack.state import State, private

_GATE = Path(__file__).with_name("gate.py")
_STACK_VARIABLE = "BACKSTOP_STACK"
"""The state folder, in the environment of every process of the stack and of what those start."""

_SAME_MOMENT = 1.0
"""Seconds. When a process began is known relative to a clock that is corrected now and then."""
_AFTER_KILL = 5.0
_NOT_INHERITED = ("PREFECT_", "PG")
"""Would lead the worker to another Prefect, and its database clients to another server."""


class WaitingProcess:
    """A process that waits at the gate until it is let through."""

    def __init__(self, component: Component, state: State) -> None:
        log = state.log(component.name)
        log.parent.mkdir(mode=0o700, exist_ok=True)
        with open(log, "ab", opener=private) as output:
            self._process = subprocess.Popen(
                [sys.executable, "-IS", str(_GATE), component.user or "-", *component.argv],
                cwd=component.folder,
                env=_environment(component, state),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.created = psutil.Process(self.pid).create_time()

    def let_through(self) -> None:
        if self._process.stdin:
            with suppress(BrokenPipeError):
                self._process.stdin.write(b"1")
                self._process.stdin.close()


def _environment(component: Component, state: State) -> dict[str, str]:
    surroundings = {name: os.environ[name] for name in ("PATH", "HOME", "TZ") if name in os.environ}
    if component.inherits:
        surroundings = {n: value for n, value in os.environ.items() if not n.startswith(_NOT_INHERITED)}
    return {**surroundings, _STACK_VARIABLE: str(state.folder), **component.environment}


def is_alive(launched: Launched) -> bool:
    """A zombie is dead, and so is a pid that was given to somebody else."""
    return _process(launched) is not None


def listens(launched: Launched, ports: Set[int]) -> bool:
    """Whether the process itself holds all of these ports: somebody else may have been faster."""
    with suppress(psutil.Error):
        connections = psutil.Process(launched.pid).net_connections(kind="tcp")
        return ports <= {found.laddr.port for found in connections if found.status == psutil.CONN_LISTEN}
    return False


def memory(launched: Launched) -> int | None:
    """Bytes in use by the process and its children, what they share counted once; None when dead."""
    process = _process(launched)
    if process is None:
        return None
    total = 0
    for member in [process, *_descendants(process)]:
        with suppress(psutil.Error):
            total += _proportional(member)
    return total


def _proportional(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.AccessDenied:
        return int(process.memory_info().rss)


def end(launched: Launched) -> None:
    """Ask it to end, and kill what is left of it and its children after its grace."""
    process = _process(launched)
    if process is None:
        return
    family = [process, *_descendants(process)]
    with suppress(psutil.NoSuchProcess):
        process.send_signal(launched.stop_signal)
    _wait_for([process], launched.grace)
    _kill(family)


def end_marked(state: State) -> list[int]:
    """End what processes of the stack started and left behind; it carries the stack's mark. The pids."""
    return _end_found(process for process in psutil.process_iter() if _is_marked(process, state))


def end_in_folder(folder: Path) -> list[int]:
    """End every process that works in `folder`, which must be one that is the stack's alone. The pids."""
    return _end_found(process for process in psutil.process_iter() if _works_in(process, folder))


def _end_found(found: Iterable[psutil.Process]) -> list[int]:
    processes = list(found)
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _wait_for(processes, _AFTER_KILL)
    _kill(processes)
    return [process.pid for process in processes]


def _is_marked(process: psutil.Process, state: State) -> bool:
    with suppress(psutil.Error, OSError):
        ours = process.pid != os.getpid()
        return ours and process.environ().get(_STACK_VARIABLE) == str(state.folder)
    return False


def _works_in(process: psutil.Process, folder: Path) -> bool:
    with suppress(psutil.Error, OSError):
        return process.cwd() == str(folder)
    return False


def _process(launched: Launched) -> psutil.Process | None:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(launched.pid)
        same = abs(process.create_time() - launched.created) <= _SAME_MOMENT
        if same and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return process.children(recursive=True)
    return []


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    _wait_for(processes, _AFTER_KILL)


def _wait_for(processes: list[psutil.Process], seconds: float) -> None:
    # Not psutil.wait_procs: that waits for a zombie too, which nobody may ever reap.
    deadline = time.monotonic() + seconds
    while any(map(_is_running, processes)) and time.monotonic() < deadline:
        time.sleep(0.02)


def _is_running(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
