"""The variables of programs that Backstop starts: never all of the worker's own, which hold every secret."""

import os

BARE = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
"""For programs that are told everything on their command line or in their input."""

_OF_GIT = ("GIT_", "SSH_", "LC_", "XDG_")
_OF_GIT_TOO = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "GNUPGHOME"}
    | {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy"}
)


def of_git() -> dict[str, str]:
    """What git, ssh and credential helpers read. Asking a person is off: nobody is there to answer."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(_OF_GIT) or name in _OF_GIT_TOO}
    return {**kept, "GIT_TERMINAL_PROMPT": "0"}
