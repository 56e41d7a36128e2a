"""PostgreSQL's programs as children: they end with their parent, and what they complained of is kept."""

import fcntl
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO

_COMPLAINT_BYTES = 2_000


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
        return " ".join(read_end(self._complaints, _COMPLAINT_BYTES).split())

    def read_errors(self, most_bytes: int) -> str:
        """The end of what it wrote to its error output, as it stands there."""
        return read_end(self._complaints, most_bytes)


def read_end(file: IO[bytes], most_bytes: int) -> str:
    """Its last bytes as text, whoever writes to it at the moment."""
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), most_bytes, max(0, size - most_bytes)).decode(errors="replace")


@contextmanager
def running(
    command: Sequence[str],
    environment: dict[str, str],
    user: str | None = None,
    ended_with: signal.Signals = signal.SIGKILL,
    source: int = subprocess.DEVNULL,
    *,
    output: int | IO[bytes] = subprocess.DEVNULL,
    folder: str = "/",
) -> Iterator[Child]:
    """The program, by default its output thrown away. It is ended, with its own children, on the way out.

    `ended_with`: what it gets when this process is killed. `source`, `output`: as for Popen.
    """
    # In memory: on a disk that is full nobody could say so.
    with os.fdopen(os.memfd_create("complaints"), "w+b") as complaints, _lifeline() as lifeline:
        process = subprocess.Popen(
            list(command),
            env=environment,
            cwd=folder,
            stdin=source,
            stdout=output,
            stderr=complaints,
            process_group=0,
            pass_fds=(lifeline,),
            user=user,
            extra_groups=[] if user else None,
            preexec_fn=_bound_to(lifeline, ended_with),  # noqa: PLW1509 (it only makes system calls)
        )
        child = Child(process, complaints)
        try:
            yield child
        finally:
            child.signal(signal.SIGCONT)
            child.signal(signal.SIGKILL)
            process.wait()
            if process.stdin:
                with suppress(BrokenPipeError):
                    process.stdin.close()


@contextmanager
def _lifeline() -> Iterator[int]:
    """The reading end of a pipe whose other end this process alone holds."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(reading)
        os.close(writing)


def _bound_to(lifeline: int, ended_with: signal.Signals) -> Callable[[], None]:
    """When the other end is closed, the kernel signals the whole group, also those of it that are stopped.

    A signal for a parent's death reaches the child alone, not the workers that pg_dump forks: they
    would copy their table to its end, onto a disk that nobody empties any more.
    """

    def bind() -> None:
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpid())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, ended_with)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, os.O_ASYNC)

    return bind
