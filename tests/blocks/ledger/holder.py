"""A process that holds an environment: `python -m tests.blocks.ledger.holder URL RUN_ID ENVIRONMENT BEAT_SECONDS`.

It says `holding EPOCH`, answers `check` on its input with `still held` or the error's name, and ends with its parent.
"""

import ctypes
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from blocks.errors import BackstopError
from blocks.ledger import fence
from blocks.ledger.connection import connect

PR_SET_PDEATHSIG = 1


class Holder:
    """The same, seen from the test."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.epoch = int(self._line().removeprefix("holding "))

    def check(self) -> str:
        assert self.process.stdin
        self.process.stdin.write("check\n")
        self.process.stdin.flush()
        return self._line()

    def _line(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()


@contextmanager
def holding(url: str, run_id: str, environment: str, beat_seconds: float = 1.0) -> Iterator[Holder]:
    command = [sys.executable, "-m", __name__, url, run_id, environment, str(beat_seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Holder(process)
        finally:
            process.kill()


def main(url: str, run_id: str, environment: str, beat_seconds: str) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    fence.BEAT_SECONDS = float(beat_seconds)
    held = fence.Fence(connect(run_id, url), environment, run_id)
    held.take()
    print("holding", held.epoch, flush=True)
    for _ in sys.stdin:
        try:
            held.check()
            print("still held", flush=True)
        except BackstopError as error:
            print(type(error).__name__, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
