"""What visitors of the shop met with: one JSON line per finished request, written and read here."""

import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO

LARGEST_FILE = 10_000_000
"""Bytes. The log and one older file beside it (`….1`) are kept."""


@dataclass(frozen=True, slots=True)
class Visit:
    at: float
    """When the request began, in Unix seconds."""
    method: str
    route: str
    status: int | None
    """None: no answer."""
    ms: float
    """From there to the end of the answer; waiting for one of the 64 turns is part of it."""
    version: str | None
    """X-Version of the answer."""
    fault: str | None
    """X-Injected-Fault of the answer: the release that failed or dawdled on purpose."""
    error: str | None
    """Why there was no answer."""


class VisitLog:
    """Every line is on its way to the reader as soon as it is written."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = RotatingFileHandler(path, maxBytes=LARGEST_FILE, backupCount=1, encoding="utf-8")

    def write(self, visit: Visit) -> None:
        line = json.dumps(asdict(visit))
        self._file.emit(logging.LogRecord("visits", logging.INFO, "", 0, line, None, None))

    def close(self) -> None:
        self._file.close()


def read_visits(path: Path, since: float = 0.0) -> Iterator[Visit]:
    """The visits that began at `since` (Unix seconds) or later, oldest file first.

    Nothing when there is no log yet; a last line that is still being written is left out.
    """
    with ExitStack() as files:
        for file in _open_oldest_first(path, files):
            for line in file:
                if line.endswith("\n"):
                    visit = Visit(**json.loads(line))
                    if visit.at >= since:
                        yield visit


def failures_without_fault(visits: Iterable[Visit]) -> list[Visit]:
    """Those that nobody had planned: a status of 500 or more, or no answer, and no mark of a fault."""
    return [visit for visit in visits if visit.fault is None and (visit.status is None or visit.status >= 500)]


def _open_oldest_first(path: Path, files: ExitStack) -> list[IO[str]]:
    """The newer file is opened first: a rotation in between then shows one file twice, and loses none."""
    opened: list[IO[str]] = []
    for name in (path, path.with_name(f"{path.name}.1")):
        if name.exists():
            file = files.enter_context(name.open(encoding="utf-8"))
            if not any(os.path.sameopenfile(file.fileno(), other.fileno()) for other in opened):
                opened.insert(0, file)
    return opened
