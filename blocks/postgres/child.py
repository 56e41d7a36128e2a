"""PostgreSQL's programs as children: they end with their parent, and what they complained of is kept."""

import ctypes
import fcntl
import os
import pty
import signal
import subprocess
import tempfile
import termios
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO

_PR_SET_PDEATHSIG = 1
_COMPLAINT_BYTES = 2_000
_libc = ctypes.CDLL(None)


class Child:
    """Started in a session of its own, which can be stopped, continued and ended as a whole."""

    def __init__(self, process: "subprocess.Popen[bytes]", complaints: IO[bytes]) -> None:
        self.process = process
        self._complaints = complaints

    def is_running(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        if self.is_running():
            os.killpg(self.process.pid, number)

    def read_complaint(self) -> str:
        """The end of what it wrote to its error output, on one line."""
        size = os.fstat(self._complaints.fileno()).st_size
        text = os.pread(self._complaints.fileno(), _COMPLAINT_BYTES, max(0, size - _COMPLAINT_BYTES))
        return " ".join(text.decode(errors="replace").split())


@contextmanager
def running(
    command: Sequence[str],
    environment: dict[str, str],
    user: str | None = None,
    ended_with: signal.Signals = signal.SIGKILL,
) -> Iterator[Child]:
    """The program, without input or output. It is ended, with its own children, on the way out.

    `ended_with`: what it gets when this process is killed.
    """
    with tempfile.TemporaryFile() as complaints, _terminal() as terminal:
        process = subprocess.Popen(
            list(command),
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=complaints,
            start_new_session=True,
            pass_fds=(terminal,),
            user=user,
            extra_groups=[] if user else None,
            preexec_fn=_bound_to_parent(terminal, ended_with),  # noqa: PLW1509 (it only makes two system calls)
        )
        child = Child(process, complaints)
        try:
            yield child
        finally:
            child.signal(signal.SIGCONT)
            child.signal(signal.SIGKILL)
            process.wait()


@contextmanager
def _terminal() -> Iterator[int]:
    """One whose other end this process alone holds."""
    own_end, end_of_child = pty.openpty()
    try:
        yield end_of_child
    finally:
        os.close(end_of_child)
        os.close(own_end)


def _bound_to_parent(terminal: int, ended_with: signal.Signals) -> Callable[[], None]:
    """The kernel tells only the child itself that its parent died, not the workers that pg_dump forks.

    They would copy their table to its end, onto a disk that nobody empties any more. A terminal
    that hangs up ends them, too.
    """

    def bind() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, ended_with)
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    return bind
