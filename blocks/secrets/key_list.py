"""Several keys in one variable, by commas: the first is used, all of them are accepted."""

from typing import Self

from pydantic import Field, model_validator

from blocks.secrets.generated import Encoding, make_random
from blocks.secrets.held import HeldSecret, Report
from blocks.secrets.interface import VARIABLE
from blocks.sinks.interface import Values


class KeyList(HeldSecret):
    """A new key comes first, and those of before stay accepted until a later run retires them."""

    random_bytes: int = Field(default=32, ge=16, le=1024, description="How many random bytes a key has.")
    encoding: Encoding = Field(default="base64", description="How they are written.")
    report: Report = Field(description="Where the service reports which keys it accepts, the used one first.")

    next_variable: str | None = Field(
        default=None,
        pattern=VARIABLE,
        max_length=200,
        description="Variable of a key that is accepted before it is used: a rotation takes two runs then.",
    )

    @model_validator(mode="after")
    def _may_be_empty(self) -> Self:
        """The next key is, between two rotations."""
        if self.next_variable and (full := [sink.named for sink in self.sinks if not sink.keeps_empty]):
            raise ValueError(f"{' and '.join(full)} keeps no empty value, and next_variable is empty at times")
        return self

    @property
    def variables(self) -> list[str]:
        return [self.variable, *([self.next_variable] if self.next_variable else [])]

    def accepted(self, values: Values) -> list[str]:
        return [*self.held_keys(values), *filter(None, [self.next_key(values)])]

    def held_keys(self, values: Values) -> list[str]:
        """The used one first, then those of before."""
        return values[self.variable].split(",")

    def next_key(self, values: Values) -> str:
        """The one that is accepted before it is used; empty where there is none."""
        return values[self.next_variable] if self.next_variable else ""

    def without_previous(self, values: Values) -> Values:
        return {**values, self.variable: self.held_keys(values)[0]}

    def read_obstacles(self, old: Values) -> list[str]:
        return [] if all(self.held_keys(old)) else [f"{self.variable} holds an empty key: take it out by hand"]

    def make(self, old: Values) -> Values:
        """With `next_variable` in two steps: first everybody knows the new key, then it is used."""
        made = self.next_key(old) or make_random(self.random_bytes, self.encoding)
        if not self.next_variable:
            return {self.variable: ",".join([made, *self.held_keys(old)])}
        if not self.next_key(old):
            return {**old, self.next_variable: made}
        return {self.variable: ",".join([made, *self.held_keys(old)]), self.next_variable: ""}

    def make_alone(self, old: Values) -> Values:
        return {**dict.fromkeys(self.variables, ""), self.variable: make_random(self.random_bytes, self.encoding)}
