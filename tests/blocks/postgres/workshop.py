"""A database and an empty folder, to dump the one into the other."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from blocks.postgres.dump import Dump
from blocks.postgres.programs import Programs
from tests.deployments.shop.processes import Postgres
from tests.ended import have_ended


class Kept:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.large: dict[str, bytes] = {}
        self.small: dict[str, bytes] = {}

    def take_large(self, name: str, chunks: Iterator[bytes]) -> None:
        self.large[name] = b"".join(chunks)

    def take_small(self, files: Iterator[tuple[str, bytes]]) -> None:
        for name, content in files:
            self.small[name] = content


class Workshop(NamedTuple):
    server: Postgres
    database: str
    programs: Programs
    folder: Path
    environment: dict[str, str]

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        return self.server.execute(statement, self.database)

    def fill(self, megabytes: int) -> None:
        """A table `large` of so many megabytes, as COPY writes it."""
        self.execute("CREATE UNLOGGED TABLE large (n int, text text)")
        self.execute(f"INSERT INTO large SELECT n, repeat('x', 990) FROM generate_series(1, {megabytes}000) n")  # noqa: S608

    def dump(self, sink: Kept, on_look: Callable[[], None] = lambda: None) -> None:
        Dump(self.folder / "archive", sink, on_look).run(self.programs, self.environment, [])

    def used_bytes(self) -> int:
        """What the folder takes on the disk."""
        return sum(path.stat().st_blocks * 512 for path in self.folder.rglob("*") if path.exists())


def children_at_work(program: str) -> list[psutil.Process]:
    """Processes of that name below this one, which have not ended."""
    below = psutil.Process(os.getpid()).children(recursive=True)
    return [child for child in below if _is_at_work(child, program)]


def _is_at_work(child: psutil.Process, program: str) -> bool:
    try:
        return child.name() == program and not have_ended(child)
    except psutil.NoSuchProcess:
        return False
