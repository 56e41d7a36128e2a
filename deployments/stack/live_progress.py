"""Progress as lines that change in place, with a spinner on what is under way."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

_PER_SECOND = 8


class LiveProgress:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines: dict[str, tuple[RenderableType, str]] = {}

    def began(self, part: str, what: str) -> None:
        self._lines[part] = (Spinner("dots"), what)

    def finished(self, part: str, what: str) -> None:
        self._lines[part] = (Text("✓", style="green"), what)

    def failed(self, part: str) -> None:
        self._lines[part] = (Text("✗", style="red"), "failed")

    def say(self, part: str, text: str) -> None:
        self._console.print(f"  {part} {text}", highlight=False, markup=False)

    def __rich__(self) -> Table:
        table = Table.grid(padding=(0, 1))
        for part, (mark, what) in list(self._lines.items()):
            table.add_row(mark, part, Text(what, style="dim"))
        return table


@contextmanager
def live_progress(output: TextIO) -> Iterator[LiveProgress]:
    console = Console(file=output)
    progress = LiveProgress(console)
    with Live(progress, console=console, refresh_per_second=_PER_SECOND):
        yield progress
