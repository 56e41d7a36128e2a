"""A secret that nobody keeps but its consumers: what they were started with is accepted, and nothing else."""

import hashlib

from pydantic import BaseModel, ConfigDict, Field

from blocks.limits import Path
from blocks.secrets.interface import Reported, RotatedSecret
from blocks.sinks.interface import Values


class Report(BaseModel):
    """Where the service says which secrets it uses: the first 16 hex digits of the SHA-256 of each, in their order."""

    model_config = ConfigDict(extra="forbid")

    path: Path = Field(description="Path that answers with JSON, without a login.")
    member: str = Field(
        pattern=r"^[\w-]+(\.[\w-]+)*$", max_length=200, description="Member with the fingerprints, as secrets.session."
    )


class HeldSecret(RotatedSecret):
    """Giving it to its consumers is all there is to do, and what the service reports is the proof."""

    report: Report | None = Field(default=None, description="Where the service reports which one it uses.")

    @property
    def is_held(self) -> bool:
        return True

    def report_of(self, values: Values) -> Reported | None:
        if self.report is None:
            return None
        return Reported(self.report.path, self.report.member, [told(one) for one in self.accepted(values)])

    def accepted(self, values: Values) -> list[str]:
        """What a consumer with these values accepts, the one that it uses itself first."""
        return [values[self.variable]]

    def read_obstacles(self, old: Values) -> list[str]:
        return []

    @property
    def interruption(self) -> str:
        return "the old one is accepted until its consumers have the new one, and by nobody from then on"

    def install(self, old: Values, new: Values) -> None:
        """Nothing: whoever is given it accepts it."""

    def prove(self, values: Values) -> None:
        """Nothing: the service's report proves it, as soon as it was started with these."""

    def read_users(self, old: Values) -> list[str]:
        return []

    def retire(self, old: Values) -> None:
        """Nothing: whoever was started with the new one has the old no more."""

    def prove_refused(self, old: Values) -> None:
        """Nothing: the service's report, which lists all that it accepts, proves it."""

    def reinstate(self, old: Values) -> None:
        """Nothing, as for `install`."""

    def withdraw(self, old: Values) -> None:
        """Nothing, as for `retire`."""


def told(value: str) -> str:
    """The fingerprint by which a service tells it. Of a random value it says nothing else."""
    return hashlib.sha256(value.encode()).hexdigest()[:16]
