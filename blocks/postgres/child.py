"""PostgreSQL's programs as children: they end with their parent, and what they complained of is kept."""

import ctypes
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

_PR_SET_PDEATHSIG = 1
_COMPLAINT_BYTES = 2_000
_libc = ctypes.CDLL(None)


class Child:
    """Started in a process group of its own, which can be stopped, continued and ended as a whole."""

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
    command: Sequence[str], environment: dict[str, str], output: int = subprocess.DEVNULL, user: str | None = None
) -> Iterator[Child]:
    """The program, with no input; its whole group is ended on the way out if it still runs."""
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            list(command),
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=complaints,
            process_group=0,
            user=user,
            extra_groups=[] if user else None,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 (it calls one function of the C library)
        )
        child = Child(process, complaints)
        try:
            yield child
        finally:
            child.signal(signal.SIGCONT)
            child.signal(signal.SIGKILL)
            process.wait()
            if process.stdout:
                process.stdout.close()


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
