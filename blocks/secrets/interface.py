"""What every kind of secret can be asked to do. One class a file implements it."""

from abc import ABC, abstractmethod
from datetime import timedelta
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, field_validator

from blocks.ledger.approvals_key import seal
from blocks.sinks.directory import Directory
from blocks.sinks.env_file import EnvFile
from blocks.sinks.github_actions import GithubActions
from blocks.sinks.google_secret_manager import GoogleSecretManager
from blocks.sinks.interface import ReadableSink, Values
from blocks.sinks.platform_sealed import PlatformSealed
from blocks.sinks.platform_variables import PlatformVariables
from blocks.sinks.vault_kv import VaultKv

AnySink = Annotated[
    PlatformVariables | PlatformSealed | EnvFile | Directory | VaultKv | GithubActions | GoogleSecretManager,
    Field(discriminator="type"),
]


VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"


class Reported(NamedTuple):
    """What a service says of the secrets that it uses."""

    path: str
    member: str
    """Of the JSON that it answers there, as `secrets.session`."""
    fingerprints: list[str]


class RotatedSecret(BaseModel, ABC):
    """One secret: where it must arrive, and how a new one takes the place of the old without either being refused.

    Every call answers within its own time limit or raises Unreachable; a "no" raises RefusedByPlatform. Nothing here
    retries, waits or logs, and no value is ever part of a message. `old` and `new` are what every sink holds before and
    after.
    """

    model_config = ConfigDict(extra="forbid")

    type: str = Field(description="Its kind.")
    variable: str = Field(pattern=VARIABLE, max_length=200, description="What it is called in every sink.")
    sinks: list[AnySink] = Field(min_length=1, max_length=20, description="Where it must arrive.")
    max_age_days: float = Field(default=92, gt=0, description="How old it may become.")

    @field_validator("sinks")
    @classmethod
    def _are_different(cls, sinks: list[AnySink]) -> list[AnySink]:
        if len({sink.named for sink in sinks}) < len(sinks):
            raise ValueError("names a sink twice")
        if not any(isinstance(sink, ReadableSink) for sink in sinks):
            raise ValueError("names no sink that gives the value back, so nobody could go back to it: add one")
        return sinks

    @property
    def variables(self) -> list[str]:
        """Everything that it consists of."""
        return [self.variable]

    @property
    @abstractmethod
    def effect(self) -> str:
        """What its rotation means, for whoever approves it."""

    @property
    def interruption(self) -> str:
        """What it means that the old one is cut first, for whoever approves it."""
        return "whoever uses it is refused from the cut on until it has the new one"

    def report_of(self, values: Values) -> Reported | None:
        """What the service says while it uses these; None where it is not asked."""
        return None

    @property
    def is_held(self) -> bool:
        """Whether its consumers alone accept or refuse it, by what they were started with."""
        return False

    @property
    def is_given(self) -> bool:
        """Whether somebody else makes the new one, so that `make` tells what that is."""
        return False

    @property
    def accepted_for(self) -> timedelta:
        """How long the one before is needed after a rotation that leaves it accepted; a later run retires it."""
        return timedelta()

    @property
    def is_retired_by_people(self) -> bool:
        """Whether retiring the one of before is left to somebody who asks for it."""
        return False

    def protecting(self, values: Values) -> Reported | None:
        """Where the service says how many records the previous ones of these protect: fingerprint → number.

        None where nothing is protected by any.
        """
        return None

    def without_previous(self, values: Values) -> Values:
        """The same without those of before that are accepted beside it; of most kinds none ever is."""
        return values

    @abstractmethod
    def read_obstacles(self, old: Values) -> list[str]:
        """What is in the way of its rotation, a sentence each. Nothing is changed."""

    def read_cut_obstacles(self, old: Values) -> list[str]:
        """What is in the way of cutting the old one at once, a sentence each. Nothing is changed."""
        return []

    @abstractmethod
    def make(self, old: Values) -> Values:
        """A new one, known to nobody yet. Nothing is changed."""

    def make_alone(self, old: Values) -> Values:
        """The same, and nothing of before is accepted beside it: that has leaked."""
        return self.make(old)

    @abstractmethod
    def install(self, old: Values, new: Values) -> None:
        """Have the new one accepted beside the old. Repeating it changes nothing."""

    @abstractmethod
    def prove(self, values: Values) -> None:
        """Raises SecretIsBad when these are not accepted."""

    @abstractmethod
    def read_users(self, old: Values) -> list[str]:
        """Who uses the old one still, by what they call themselves."""

    @abstractmethod
    def retire(self, old: Values) -> None:
        """Have the old one refused. Repeating it changes nothing."""

    def end_sessions(self, old: Values) -> None:
        """Throw out whoever is logged in with the old one. A kind without sessions has nobody to throw out."""
        return

    @abstractmethod
    def prove_refused(self, old: Values) -> None:
        """Raises SecretIsBad when the old one is accepted still."""

    @abstractmethod
    def reinstate(self, old: Values) -> None:
        """Have the old one accepted again, whether or not it was retired."""

    @abstractmethod
    def withdraw(self, old: Values) -> None:
        """Have whatever was installed beside the old one refused. Repeating it changes nothing."""


def fingerprint(values: Values) -> str:
    """Tells two of them apart. Made with the worker's key: nobody without it can try guesses on what is stored."""
    return seal("secret", *(part for pair in sorted(values.items()) for part in pair))[:16]
