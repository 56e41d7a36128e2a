"""What a version may be called: it becomes a tag, a path and part of a URL."""

import re

from blocks.errors import BadParameter

# `{1}` only so that Prefect's page, which shows the pattern to whoever missed it, sees no Markdown link in it.
PATTERN = r"^[A-Za-z0-9]{1}(\.?[A-Za-z0-9_+-]){0,63}$"
MOST_CHARACTERS = 64
_ALLOWED = (
    "1 to 64 letters, digits, single dots, pluses, dashes and underscores,"
    " beginning with a letter or digit and not ending with .lock"
)


def check_version(version: str, parameter: str = "version") -> str:
    """The version itself. Raises BadParameter."""
    # git keeps names ending with .lock to itself.
    if len(version) > MOST_CHARACTERS or not re.fullmatch(PATTERN, version) or version.endswith(".lock"):
        raise BadParameter(parameter, version, _ALLOWED)
    return version
