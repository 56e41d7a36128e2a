"""What every platform can be asked to do. One class a file implements it.

How each operation maps to a vendor is written in docs/platforms.md. The contract that
all of them pass is tests/blocks/platforms/contract.py.
"""

from abc import abstractmethod
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Literal

from pydantic import BaseModel

from blocks.errors import RefusedByPlatform
from blocks.part import Part

Split = dict[str, int]
"""Release id → percent of the traffic.

Whole numbers that add up to 100; releases without traffic are absent."""


class Capability(StrEnum):
    """What not every platform can do. A plan says what a missing one means."""

    WEIGHTED_TRAFFIC = "shift traffic by percent"
    START_WITHOUT_TRAFFIC = "start a release that gets no traffic"
    STOP = "stop a release"
    SCALE = "change the number of replicas"
    READ_VARIABLES = "read variables back"
    MAINTENANCE = "answer visitors for the service while it is in maintenance"


class Release(BaseModel):
    """One started build of a version. The same version started twice is two releases."""

    id: str
    version: str
    commit: str
    state: Literal["starting", "running", "stopped", "failed"]
    url: str | None
    """Reaches this release alone, whatever the traffic is; None while it has no process."""
    replicas: int
    """As many as were asked for; 0 when it is stopped or failed."""
    started_by: str
    """Run id that was given to start_release; empty when somebody else started it."""
    created_at: datetime
    detail: str = ""
    """Why it failed, or what is not yet as it was asked for, in the platform's words."""


class Platform(Part):
    """Every call answers within `timeout` seconds or raises Unreachable.

    An answer of "no" raises RefusedByPlatform. Nothing here retries, waits or logs.
    """

    late_seconds: ClassVar[float] = 75
    """How long after it was sent a change that nobody answered may still take effect."""
    look_seconds: ClassVar[float] = 0.1
    """Between two looks while something is waited for: as often as the vendor's limits allow."""

    @property
    @abstractmethod
    def capabilities(self) -> frozenset[Capability]:
        """What it can do as it is set up here. Nobody is asked."""

    @property
    def meanwhile(self) -> str:
        """What visitors meet while writes are stopped, in words, for a plan."""
        if Capability.MAINTENANCE in self.capabilities:
            return "visitors are told to come back (503, Retry-After)"
        return "visitors meet the service's own errors"

    @abstractmethod
    def read_releases(self) -> list[Release]:
        """All releases that the platform still knows, newest first."""

    @abstractmethod
    def read_traffic(self) -> Split:
        """The split in force now; empty before the first release was given traffic."""

    @abstractmethod
    def read_free_disk(self) -> int | None:
        """Free bytes where releases are stored; None where that is the vendor's business."""

    @abstractmethod
    def read_logs(self, release_id: str, lines: int = 50) -> list[str]:
        """The newest lines that the release wrote, oldest first."""

    @abstractmethod
    def start_release(self, version: str, commit: str, run_id: str) -> Release:
        """Begin to start a release without traffic, and return at once.

        Asked again with the same run_id, version and commit it returns the release
        that it already made. A stopped release is started anew under its own id by
        `scale_release`.
        """

    def describe_start(self) -> str:
        """How the next release is started, in a plan's words, where something else than the platform's part says it.

        Raises RefusedByPlatform where it could not be started so.
        """
        return ""

    @abstractmethod
    def shift_traffic(self, split: Split) -> None:
        """Make `split` the split in force for every request that arrives from now on.

        Requests already under way finish where they are. Repeating it changes nothing.
        Refuses a split that names a release that is not running. The empty split is the way
        back from a first release; a platform that cannot take all traffic away refuses it.
        """

    def read_stages(self) -> list[int]:
        """The percents that every release passes through on its way to all traffic; empty where any will do.

        Raises RefusedByPlatform where they are not such that a rollout can follow them.
        """
        return []

    @abstractmethod
    def stop_release(self, release_id: str) -> None:
        """Let its requests under way finish, then stop it. Refuses one that has traffic.

        Returns while that goes on when it takes longer than `timeout`: it is over when the
        release is read as stopped. Stopping a stopped or unknown release changes nothing.
        """

    @abstractmethod
    def scale_release(self, release_id: str, replicas: int) -> None:
        """Bring the release to that many replicas (1 or more); a stopped one is started."""

    @abstractmethod
    def read_maintenance(self) -> str:
        """For whom the service is in maintenance; empty when it is in service."""

    @abstractmethod
    def set_maintenance(self, by: str) -> None:
        """Answer visitors with 503 in the service's place, on behalf of `by`; empty: serve them again.

        With Retry-After, where the platform lets that be said. Requests under way finish. A release's own address
        answers on; one that has traffic may have none meanwhile. Repeating it changes nothing.
        """

    @abstractmethod
    def read_variables(self) -> dict[str, str]:
        """The variables that the next release starts with."""

    @abstractmethod
    def set_variables(self, variables: dict[str, str]) -> None:
        """Replace the variables. Running releases keep theirs until started anew.

        Those that nobody can read back are not among them: they stay, and to name one is refused.
        """

    def read_sealed(self) -> dict[str, str]:
        """Variables that nobody can read back → what every write of one changes, as when that was."""
        return {}

    def write_sealed(self, variables: dict[str, str]) -> None:
        """Set these so that nobody can read them back; every other stays. Refuses one that is read."""
        raise RefusedByPlatform("This platform keeps no variable that it would not give back.", "Nothing was changed.")
