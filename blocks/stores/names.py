"""What an object may be called, in every store alike."""

import re

from blocks.errors import RefusedByStore

LONGEST = 512
_SEGMENT = r"(?!\.)[A-Za-z0-9._+=-]{1,200}"
_NAME = re.compile(rf"{_SEGMENT}(/{_SEGMENT})*")
_PREFIX = re.compile(rf"({_SEGMENT}/)*({_SEGMENT})?")


def is_name(text: str) -> bool:
    """Segments of allowed characters, none empty, none beginning with a dot; 512 characters at most."""
    return len(text) <= LONGEST and bool(_NAME.fullmatch(text))


def check_name(name: str) -> str:
    """The name itself. Raises RefusedByStore."""
    if not is_name(name):
        raise RefusedByStore(f"No object can be called {_shown(name)}.", _allowed())
    return name


def check_prefix(prefix: str) -> str:
    """The prefix itself: the beginning of a name, or empty. Raises RefusedByStore."""
    if len(prefix) > LONGEST or not _PREFIX.fullmatch(prefix):
        raise RefusedByStore(f"No object's name begins with {_shown(prefix)}.", _allowed())
    return prefix


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}…")


def _allowed() -> str:
    return "Letters, digits, . _ - + = and / between them; no part empty or beginning with a dot."
