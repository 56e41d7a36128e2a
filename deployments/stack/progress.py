"""What `up` and `down` show while they work: live lines on a terminal, plain ones elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO


class Progress(Protocol):
    def began(self, part: str, what: str) -> None: ...
    def finished(self, part: str, what: str) -> None: ...
    def failed(self, part: str) -> None: ...
    def say(self, part: str, text: str) -> None: ...


class PlainProgress:
    """One line per event; a beginning is not one."""

    def __init__(self, output: TextIO) -> None:
        self._output = output

    def began(self, part: str, what: str) -> None:
        pass

    def finished(self, part: str, what: str) -> None:
        self.say(part, what)

    def failed(self, part: str) -> None:
        self.say(part, "FAILED")

    def say(self, part: str, text: str) -> None:
        print(f"{part:<16} {text}", file=self._output, flush=True)


@contextmanager
def shown_progress(output: TextIO = sys.stdout) -> Iterator[Progress]:
    if not output.isatty():
        yield PlainProgress(output)
        return
    from deployments.stack.live_progress import live_progress  # only terminals pay for it

    with live_progress(output) as progress:
        yield progress


def say_waiting() -> None:
    print("Another `backstop up` or `backstop down` is at work here. Waiting for it.", file=sys.stderr)


class Stopwatch:
    def __init__(self) -> None:
        self._began = time.monotonic()

    def __str__(self) -> str:
        return f"{time.monotonic() - self._began:.1f} s"
