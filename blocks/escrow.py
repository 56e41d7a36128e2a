"""What no backup holds and nothing can be rebuilt without: the secrets of one environment, sealed for the worst day.

One age file with JSON in it: `age --decrypt --identity KEY FILE` opens it without Backstop.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Literal

import pyrage
from pydantic import BaseModel, Field, ValidationError

from blocks.errors import BackstopError
from blocks.sealing import read_identity, read_recipient


class EscrowIsBad(BackstopError):
    """Without it nothing would come back."""

    hint = "Make a new one with `backstop escrow make`, and keep it where the old one is."


class Escrow(BaseModel):
    """Of one environment, as it was when the escrow was made."""

    format: Literal[1] = 1
    environment: str
    made_at: datetime
    file: str = Field(repr=False)
    """The environment file's text."""
    repository: str = Field(repr=False)
    """Where the service's source can be cloned from."""
    references: dict[str, str] = Field(repr=False)
    """Reference → value: all that the file refers to, and Backstop's own."""
    application: dict[str, str] = Field(repr=False)
    """The platform's variables, which a release starts with; empty where the platform does not tell them."""


def seal_escrow(escrow: Escrow, recipients: Sequence[str]) -> bytes:
    """Any one of the recipients' keys opens it. Raises ValueError for what is no public key of age or ssh."""
    content = escrow.model_dump_json(indent=1).encode()
    sealed: bytes = pyrage.encrypt(content, [read_recipient(one) for one in recipients], armored=True)
    return sealed


def open_escrow(content: bytes, identity: str) -> Escrow:
    """Raises EscrowIsBad for another key's or a damaged one, Refused for an identity that is no key."""
    key = read_identity(identity)
    try:
        return Escrow.model_validate_json(pyrage.decrypt(content, [key]))
    except pyrage.DecryptError as error:
        raise EscrowIsBad(
            f"The escrow cannot be opened ({error}): it is damaged, or was made for another key."
        ) from None
    except ValidationError:  # its text would quote secrets
        raise EscrowIsBad("The escrow was opened, and what is in it is none: it was made by another program.") from None


def lacking(escrow: Escrow, references: Collection[str]) -> list[str]:
    """Those that it has no value for, sorted."""
    return sorted(set(references) - escrow.references.keys())
