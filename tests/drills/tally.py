"""How many kills were tried and survived: the table in docs/drills.md."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.drills.moments import Moment
from tests.drills.outcome import Survived

_WHERE = {
    "ledger": "",
    "platform": ", at a request to the platform",
    "proxy": ", at a request to the proxy",
    "store": ", at a request to the store",
    "sink": ", at a request to a sink",
    "program": ", at the start of a program",
}


class Kind(NamedTuple):
    procedure: str
    victim: str


class Tally:
    def __init__(self, file: Path | None) -> None:
        self._file = file
        """Holds the table of what was tried so far, however the tests end."""
        self._tried: Counter[Kind] = Counter()
        self._survived: Counter[Kind] = Counter()

    @contextmanager
    def trying(self, procedure: str, victim: str, moment: Moment) -> Iterator[Callable[[Survived], None]]:
        """One that fails inside was tried, and not survived. What is given gets told how it ended."""
        kind = Kind(procedure, f"{victim}{_WHERE[moment.place]}")
        self._tried[kind] += 1
        self._write()

        def survived(kill: Survived) -> None:
            self._survived[kind] += 1
            self._write()
            told = kill.ending or "not begun"
            print(f"{procedure}: {victim}, {moment.side} {moment.number} at the {moment.place} '{kill.what}': {told}")

        yield survived

    @property
    def is_empty(self) -> bool:
        return not self._tried

    def as_markdown(self) -> str:
        lines = ["| procedure | killed | moments tried | survived |", "|---|---|--:|--:|"]
        lines += [f"| {k.procedure} | {k.victim} | {self._tried[k]} | {self._survived[k]} |" for k in self._tried]
        lines.append(f"| **all** | | **{self._tried.total()}** | **{self._survived.total()}** |")
        return "\n".join(lines) + "\n"

    def _write(self) -> None:
        if self._file:
            self._file.write_text(self.as_markdown())
