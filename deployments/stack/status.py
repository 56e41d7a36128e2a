"""What runs and what does not."""

from datetime import UTC, datetime
from typing import Literal

from pydantic import BaseModel

from deployments.stack.layout import NAMES, NAMES_WITHOUT_SAMPLE
from deployments.stack.processes import memory
from deployments.stack.record import Launched, read_record
from deployments.stack.state import State


class ComponentStatus(BaseModel):
    name: str
    state: Literal["running", "starting", "dead"]
    """Starting: it runs, but no `up` has seen it ready yet."""
    pid: int | None = None
    memory_mb: int | None = None
    """Of the process and its children; what they share is counted once."""
    since: datetime | None = None
    address: str = ""


def read_components(state: State) -> list[ComponentStatus]:
    """Every part of the stack, in the order of starting. Empty when the stack is down."""
    record = read_record(state)
    if not record.components:
        return []
    names = NAMES if record.sample else NAMES_WITHOUT_SAMPLE
    return [_read(name, record.components.get(name)) for name in names]


def _read(name: str, launched: Launched | None) -> ComponentStatus:
    used = memory(launched) if launched else None
    if launched is None or used is None:
        return ComponentStatus(name=name, state="dead")
    return ComponentStatus(
        name=name,
        state="running" if launched.ready else "starting",
        pid=launched.pid,
        memory_mb=round(used / 2**20),
        since=datetime.fromtimestamp(launched.created, UTC),
        address=launched.address,
    )
