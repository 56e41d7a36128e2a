"""Values that an environment file names instead of holding: `${NAME}` or `file:PATH`.

Prefect keeps the encryption key of its blocks in the same database as the blocks, so
what a block stores must be worthless to a reader of that database. A reference is.
It is looked up in the worker's process, at the moment of use.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from blocks.errors import MissingReference

_VARIABLE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")
_WEB = ("http://", "https://")
_ENGINE = ("unix://", "tcp://", "ssh://", *_WEB)
_LOGIN = re.compile(r"://\S*@|[?&]\w*(password|secret|token|key)=", re.IGNORECASE)


def is_reference(text: str) -> bool:
    """True when the whole text is one `${NAME}` or one `file:PATH`."""
    return bool(_VARIABLE.fullmatch(text)) or text.startswith("file:/")


def resolve(text: str) -> str:
    """The text with every reference in it replaced by its value.

    Raises MissingReference when a variable is unset or empty, or a file is unreadable or empty.
    """
    if text.startswith("file:/"):
        return _read_file(text)

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1])
        if not found:
            raise MissingReference(match[0], "not set in the worker's environment")
        return found

    return _VARIABLE.sub(value, text)


def references_in(text: str) -> list[str]:
    """Every one that resolving the text looks up."""
    return [text] if text.startswith("file:/") else [match[0] for match in _VARIABLE.finditer(text)]


def secrets_in(text: str) -> list[str]:
    """What the text resolves to, and the value of each of its references alone; empty where it has none."""
    references = references_in(text)
    return [resolve(one) for one in dict.fromkeys([*references, text])] if references else []


def _read_file(reference: str) -> str:
    try:
        value = Path(reference.removeprefix("file:")).read_bytes().decode().strip()
    except OSError as error:
        raise MissingReference(reference, error.strerror or "unreadable") from None
    except UnicodeDecodeError:
        raise MissingReference(reference, "not text") from None
    if not value:
        raise MissingReference(reference, "empty")
    return value


def _must_be_reference(text: str) -> str:
    if not is_reference(text):
        raise ValueError("must be a reference, ${NAME} or file:/PATH, never the secret itself")
    return text


def _must_hold_no_credentials(text: str) -> str:
    if not is_reference(text) and _LOGIN.search(text):
        raise ValueError("holds a password: put the whole URL into a reference, ${NAME}")
    return text


def _must_begin_with(*schemes: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not text.startswith((*schemes, "${", "file:/")):
            raise ValueError(f"must begin with {' or '.join(schemes)}, or be a reference, ${{NAME}}")
        return text

    return check


Secret = Annotated[str, AfterValidator(_must_be_reference)]
"""A secret: stored only as a reference."""

Address = Annotated[str, AfterValidator(_must_hold_no_credentials), AfterValidator(_must_begin_with(*_WEB))]
"""A URL: literal when it holds no password, otherwise a reference."""

EngineAddress = Annotated[str, AfterValidator(_must_hold_no_credentials), AfterValidator(_must_begin_with(*_ENGINE))]
"""Of a Docker engine; a socket's begins with `unix://`."""
