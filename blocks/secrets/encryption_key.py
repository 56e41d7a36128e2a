"""Keys that data is encrypted with: those of before decrypt until nothing needs them, backups included."""

from typing import Literal

from pydantic import Field

from blocks.secrets.held import Report, told
from blocks.secrets.interface import VARIABLE, Reported
from blocks.secrets.key_list import KeyList
from blocks.sinks.interface import Values


class EncryptionKey(KeyList):
    """Keys by commas: the first encrypts, all of them decrypt.

    A new one is known everywhere before it is used: were the rotation put back, what it had encrypted is readable.
    """

    type: Literal["encryption-key"] = Field(description="Keys by commas: the first encrypts, all of them decrypt.")
    next_variable: str = Field(
        pattern=VARIABLE, max_length=200, description="Variable of a key that decrypts already, and encrypts next."
    )
    protects: Report = Field(description="Where the service reports how many records each key protects.")

    @property
    def effect(self) -> str:
        return (
            "a new key is made known to everybody by one run and encrypts from the next one on; those of before decrypt"
            " until nothing is encrypted with them any more, and a run is asked to retire them"
        )

    @property
    def is_retired_by_people(self) -> bool:
        return True

    def read_cut_obstacles(self, old: Values) -> list[str]:
        return [f"data is encrypted with {self.variable}: rotate it as usual, and name only the others here"]

    def protecting(self, values: Values) -> Reported | None:
        previous = self.held_keys(values)[1:]
        return Reported(self.protects.path, self.protects.member, [told(key) for key in previous])
