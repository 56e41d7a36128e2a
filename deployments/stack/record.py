"""What `up` started, in stack.json, so that `down` ends that and nothing else."""

import threading
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, Field, ValidationError

from blocks.errors import Refused
from deployments.stack.state import State, write_private


class Launched(BaseModel):
    """One process that was started, and how to end it."""

    pid: int
    created: float
    """When the process began, in seconds since 1970: tells a pid that was used again."""
    fingerprint: str
    """Of everything that it was started with; another one means that it has to be started anew."""
    stop_signal: int
    grace: float
    address: str
    ready: bool = False


class Record(BaseModel):
    ports: dict[str, int] = Field(default_factory=dict)
    sample: bool = True
    """Whether the sample service is a part."""
    components: dict[str, Launched] = Field(default_factory=dict)


class RecordFile:
    """The record, and its durable copy; many threads may change it."""

    def __init__(self, state: State) -> None:
        self._path = _path(state)
        self._changing = threading.Lock()
        self.record = read_record(state)

    def change(self, change: Callable[[Record], None]) -> None:
        """Durable when this returns."""
        with self._changing:
            change(self.record)
            write_private(self._path, self.record.model_dump_json(indent=1))


def read_record(state: State) -> Record:
    """Empty when nothing was ever started. Raises Refused when the file is damaged."""
    try:
        return Record.model_validate_json(_path(state).read_bytes())
    except FileNotFoundError:
        return Record()
    except ValidationError:
        raise Refused(
            f"{_path(state)} is damaged: which processes belong to the stack is unknown.",
            "End them by hand, delete the file, and run `backstop up` again.",
        ) from None


def _path(state: State) -> Path:
    return state.folder / "stack.json"
