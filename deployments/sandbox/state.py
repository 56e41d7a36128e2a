"""What outlives the daemon: releases, traffic and variables in FOLDER/state.json.

A replica is written down with its port before its process is made, and with its pid
afterwards, so that a daemon killed at any moment can find what it started.
"""

import asyncio
import fcntl
import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Literal

from pydantic import BaseModel, Field


class Replica(BaseModel):
    """One process of a release."""

    port: int
    pid: int | None = None
    """None: the process was about to be made."""
    created: float = 0
    """When the process began, in seconds since 1970: tells a pid that was used again."""
    ready: bool = False
    """It has answered its health check."""


class Release(BaseModel):
    id: str
    version: str
    commit: str
    run_id: str
    created_at: datetime
    state: Literal["starting", "running", "stopped", "failed"] = "starting"
    detail: str = ""
    wanted: int = 1
    """Replicas asked for."""
    stopping: bool = False
    variables: dict[str, str]
    replicas: list[Replica] = []

    @property
    def alive(self) -> bool:
        return self.state in ("starting", "running")


class State(BaseModel):
    made: int = 0
    """Releases made so far: the next one's number."""
    releases: dict[str, Release] = Field(default_factory=dict)
    traffic: dict[str, int] = Field(default_factory=dict)
    variables: dict[str, str] = Field(default_factory=dict)
    maintenance: str = ""
    """On whose behalf visitors are refused; empty: on nobody's."""


class Store:
    """The state in memory, and its durable copy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = read_state(folder)
        self._saving = asyncio.Lock()

    async def save(self) -> None:
        """Return once the state of now is on disk; the event loop runs on meanwhile."""
        await self.change()

    async def change(self, **fields: object) -> None:
        """First on disk, then in force: a change that cannot be kept is not made.

        Raises OSError when it cannot.
        """
        async with self._saving:
            changed = self.state.model_copy(update=fields).model_dump_json(indent=1)
            await asyncio.to_thread(_write, self.folder / "state.json", changed)
            for name, value in fields.items():
                setattr(self.state, name, value)


def read_state(folder: Path) -> State:
    """Empty for a new folder. Raises ValueError when the file is not a state."""
    try:
        return State.model_validate_json((folder / "state.json").read_bytes())
    except FileNotFoundError:
        return State()


def lock(folder: Path) -> IO[str]:
    """Hold the folder until the file that is returned is closed, or the process dies.

    Raises BlockingIOError when a daemon holds it.
    """
    file = open(folder / "lock", "w", opener=private)  # noqa: SIM115 (closing it lets go)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise
    return file


def private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _write(path: Path, text: str) -> None:
    partial = path.with_suffix(".partial")
    with suppress(FileNotFoundError):
        partial.unlink()
    with open(partial, "x", opener=private) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
