"""Random bytes, of which a consumer holds one value at a time."""

import base64
import secrets
from typing import Literal

from pydantic import Field

from blocks.secrets.held import HeldSecret
from blocks.sinks.interface import Values

Encoding = Literal["base64", "hex"]


class Generated(HeldSecret):
    """Random bytes. Whoever is given a new one refuses the old one from then on."""

    type: Literal["generated"] = Field(description="Random bytes, of which a consumer holds one value at a time.")
    means: str = Field(
        min_length=1, max_length=200, description="What a new one means for users, as `logs every user out`."
    )
    random_bytes: int = Field(default=32, ge=16, le=1024, description="How many random bytes.")
    encoding: Encoding = Field(default="base64", description="How they are written.")

    @property
    def effect(self) -> str:
        return f"{self.means}; the old one is refused as soon as the new one is in use"

    def make(self, old: Values) -> Values:
        return {self.variable: make_random(self.random_bytes, self.encoding)}


def make_random(count: int, encoding: Encoding) -> str:
    """`count` random bytes as text."""
    made = secrets.token_bytes(count)
    return made.hex() if encoding == "hex" else base64.b64encode(made).decode()
