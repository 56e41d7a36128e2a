"""One part of the stack: a process, and what has to happen before and after it starts."""

import hashlib
import json
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deployments.stack.state import CHECKOUT


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Component:
    name: str
    argv: tuple[str, ...]
    is_ready: Callable[[float], bool]
    """Asked again and again, with the time (since 1970) at which the process began. Answers quickly."""
    address: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    """On top of what the process needs anyway."""
    files: Mapping[Path, str] = field(default_factory=dict)
    """Written before the start, readable by the stack's user alone."""
    needs: tuple[str, ...] = ()
    """Names of the parts that have to be ready before this one starts."""
    depends_on: tuple[str, ...] = ()
    """What else it has to be started anew for, when it changes."""
    folder: Path = CHECKOUT
    user: str | None = None
    """An OS user to run as; None is the one who starts the stack."""
    before_start: Callable[[], None] = _nothing
    after_start: Callable[[], None] = _nothing
    """Completes it once it is ready; repeated until it has succeeded."""
    stop_signal: signal.Signals = signal.SIGTERM
    grace: float = 10
    """Seconds that it may take to end by itself."""
    ready_within: float = 120
    inherits: bool = False
    """Whether it gets the variables of whoever starts the stack, too."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever a running process would have to be started anew."""
        files = {str(path): text for path, text in self.files.items()}
        facts = [self.argv, self.depends_on, self.user, str(self.folder)]
        started_with = [*facts, dict(self.environment), files]
        return hashlib.sha256(json.dumps(started_with, sort_keys=True).encode()).hexdigest()
