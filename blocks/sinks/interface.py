"""Where a secret must arrive. One class a file implements it.

The contract that all of them pass is tests/blocks/sinks/contract.py.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from blocks.platforms.interface import Platform

Values = dict[str, str]
"""Variable → value: what a secret consists of. Never shown, stored or logged."""
Marks = dict[str, str]
"""Variable → what every write of it changes, as when that was. It tells nothing of the value."""
Versions = dict[str, list[int]]
"""Variable → numbers of values that the sink has kept, oldest first."""


class Sink(BaseModel, ABC):
    """Every call answers within its own time limit or raises Unreachable; a "no" raises RefusedBySink.

    Nothing here retries, waits or logs. `platform`: of the environment that the sink belongs to.
    """

    model_config = ConfigDict(extra="forbid")

    keeps_empty: ClassVar[bool] = True
    """Whether a variable in it may be empty."""

    @property
    @abstractmethod
    def named(self) -> str:
        """What it is called in plans and messages; no two of an environment are called alike."""

    @property
    def readers(self) -> str:
        """Who has it from there, and from when on, for whoever approves that they are interrupted."""
        return f"whoever reads {self.named}, until it reads it anew: nobody sees to that"

    def late_seconds(self, platform: Platform) -> float:
        """How long after it was sent a write that nobody answered may still take effect."""
        return 0

    @abstractmethod
    def write(self, platform: Platform, values: Values) -> None:
        """Set these variables, and leave every other as it is. Repeating it changes nothing, but marks."""


class ReadableSink(Sink):
    """One that gives back what it holds."""

    @abstractmethod
    def read(self, platform: Platform, variables: Iterable[str]) -> Values:
        """The values that it holds of these variables; one that it does not have is left out."""


class VersionedSink(ReadableSink):
    """One that keeps every value as a version, and gives it to whoever asks for its number, until it is disabled."""

    @abstractmethod
    def read_enabled(self, platform: Platform, variables: Iterable[str]) -> Versions:
        """Those that can be asked for. The last one of each is what the sink holds."""

    @abstractmethod
    def disable(self, platform: Platform, versions: Versions) -> None:
        """Give these to nobody, and keep them. Repeating it changes nothing."""

    @abstractmethod
    def enable(self, platform: Platform, versions: Versions) -> None:
        """Give them again, but for those that somebody has destroyed. Repeating it changes nothing."""


class WriteOnlySink(Sink):
    """One that gives no value back, to anybody. What it holds is concluded (tasks/write_only_sink.py)."""

    @abstractmethod
    def read_marks(self, platform: Platform, variables: Iterable[str]) -> Marks:
        """Of these variables; one that it does not have is left out. A write changes what was read before it."""
