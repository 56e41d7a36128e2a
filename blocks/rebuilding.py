"""An environment that is rebuilt from nothing, step by step: what the one who does it is told, and how far it is.

Whoever orders the steps and whoever carries them out are two processes that share a folder, and no network.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel

from blocks.escrow import Escrow

FRONT_PORT, CONTROL_PORT = 8080, 8081
"""Of the rebuilt platform. It has a network of its own: every port is free."""
STEPS = ("bring up", "apply", "restore", "boot", "switch")
_LOOK_SECONDS = 0.05


class Rebuilding(BaseModel):
    """What it takes."""

    escrow: Escrow
    backup: str
    """Its id."""
    version: str
    """Of the release."""
    application_url: str = ""
    """Of the new database, for the application."""
    operating_url: str = ""
    """Of its server, for who restores."""
    cache_url: str = ""
    """Empty: the application has no Redis."""


class Workplace:
    """The folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.backups = folder / "backups"
        self.repository = folder / "repository"
        self._told = folder / "rebuilding.json"

    def tell(self, rebuilding: Rebuilding) -> None:
        """It holds every secret of the escrow: nobody else may read it."""
        with open(os.open(self._told, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w") as file:
            file.write(rebuilding.model_dump_json())

    def read(self) -> Rebuilding:
        return Rebuilding.model_validate_json(self._told.read_bytes())

    def order(self, step: str) -> None:
        (self.folder / f"{step}.ordered").touch()

    def wait_until_ordered(self, step: str) -> None:
        _wait((self.folder / f"{step}.ordered").exists)

    def finish(self, step: str) -> None:
        (self.folder / f"{step}.done").touch()

    def wait_until_done(self, step: str, is_over: Callable[[], bool]) -> bool:
        """Whether it was done before `is_over`."""
        done = self.folder / f"{step}.done"
        _wait(lambda: done.exists() or is_over())
        return done.exists()


def _wait(until: Callable[[], bool]) -> None:
    while not until():
        time.sleep(_LOOK_SECONDS)
