"""Where the numbers about a release come from. One class a file implements it."""

from abc import abstractmethod

from pydantic import BaseModel

from blocks.part import Part
from blocks.platforms.interface import Release


class Sample(BaseModel):
    """Counters of one release at one moment, since that release started. They only grow,
    except when a process of the release was started anew.
    """

    at: float
    """Seconds, from time.monotonic() of the reader."""
    requests: float
    errors: float
    """Requests that were answered with a status of 500 or more."""
    slower: dict[float, float]
    """Seconds → requests that took longer than that; one entry per histogram bucket bound."""


class Metrics(Part):
    @property
    def late_seconds(self) -> float:
        """How long after a request it is certain to be counted. No watch that is shorter sees anything."""
        return 0

    @abstractmethod
    def read_sample(self, release: Release) -> Sample:
        """Read the counters of one release now.

        Raises Unreachable when there is no answer in time, or when the answer lacks the
        counters: no data is not zero.
        """
