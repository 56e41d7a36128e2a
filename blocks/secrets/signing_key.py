"""Keys that tokens are signed with: the new one signs, those of before are verified until the last token expired."""

from datetime import timedelta
from typing import Literal

from pydantic import Field

from blocks.secrets.key_list import KeyList


class SigningKey(KeyList):
    """Keys by commas: the first signs, all of them verify."""

    type: Literal["signing-key"] = Field(description="Keys by commas: the first signs, all of them verify.")
    token_hours: float = Field(
        gt=0, le=8784, description="How long the longest token that it signs is valid, in hours."
    )

    @property
    def accepted_for(self) -> timedelta:
        return timedelta(hours=self.token_hours)

    @property
    def interruption(self) -> str:
        return "every user is logged out as soon as the new one is in use; until then the old one signs and verifies"

    @property
    def effect(self) -> str:
        return (
            f"a new key signs, those of before are verified for {self.token_hours:g} h more; nobody is logged out, but"
            " those who log in during the change where it has to be put back"
        )
