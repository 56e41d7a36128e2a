"""What PostgreSQL refuses, made storable: no vendor's text keeps a run from writing down what it did."""

import math
from collections.abc import Mapping

_REPLACED = "\N{REPLACEMENT CHARACTER}"


def storable(value: object) -> object:
    """The value without NUL characters, halves of surrogate pairs, infinities and NaN, its keys being text."""
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {storable_text(str(name)): storable(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [storable(member) for member in value]
    return value


def storable_text(text: str) -> str:
    return text.replace("\x00", _REPLACED).encode(errors="replace").decode()
