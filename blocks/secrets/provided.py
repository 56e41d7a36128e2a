"""A value that a person or a vendor's console makes, and puts where the worker reads it."""

from typing import Literal

from pydantic import Field

from blocks.errors import BackstopError
from blocks.reference import Secret, resolve
from blocks.secrets.held import HeldSecret
from blocks.sinks.interface import Values


class Provided(HeldSecret):
    """Whoever is given a new one uses it from then on. Ending the old one is left to whoever made it."""

    type: Literal["provided"] = Field(description="A value that a person or a vendor's console makes.")
    means: str = Field(
        min_length=1, max_length=200, description="What a new one means, as `the vendor takes both for 24 hours`."
    )
    value: Secret = Field(description="Reference to the new one: where somebody puts it before the rotation.")

    @property
    def effect(self) -> str:
        return f"{self.means}; the new one is read from {self.value}, and the old one is to be ended where it was made"

    @property
    def is_given(self) -> bool:
        return True

    def read_obstacles(self, old: Values) -> list[str]:
        try:
            new = self.make(old)
        except BackstopError as error:
            return [error.message]
        if new == old:
            return [f"{self.value} holds the present one: put the new one there first"]
        return ["it holds a NUL character"] if "\0" in new[self.variable] else []

    def make(self, old: Values) -> Values:
        return {self.variable: resolve(self.value)}
