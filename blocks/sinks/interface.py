"""Where a secret must arrive. One class a file implements it.

The contract that all of them pass is tests/blocks/sinks/contract.py.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from blocks.platforms.interface import Platform

Values = dict[str, str]
"""Variable → value: what a secret consists of. Never shown, stored or logged."""


class Sink(BaseModel, ABC):
    """Every call answers within its own time limit or raises Unreachable; a "no" raises RefusedBySink.

    Nothing here retries, waits or logs. `platform`: of the environment that the sink belongs to.
    """

    model_config = ConfigDict(extra="forbid")

    @property
    @abstractmethod
    def named(self) -> str:
        """What it is called in plans and messages; no two of an environment are called alike."""

    @abstractmethod
    def read(self, platform: Platform, variables: Iterable[str]) -> Values:
        """The values that it holds of these variables; one that it does not have is left out."""

    @abstractmethod
    def write(self, platform: Platform, values: Values) -> None:
        """Set these variables, and leave every other as it is. Repeating it changes nothing."""
