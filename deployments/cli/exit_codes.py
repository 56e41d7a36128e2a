"""What the exit code of every command means. Stable: scripts rely on it."""

from enum import IntEnum


class ExitCode(IntEnum):
    DONE = 0
    REFUSED = 1
    """Refused, or failed before any change."""
    USAGE = 2
    ROLLED_BACK = 3
    NEEDS_A_HUMAN = 4
    NOT_APPROVED = 5
    """Rejected or expired."""
    TIMEOUT = 6
    """Still waiting or running when --timeout had passed, or nobody could say what became of the run."""
    INTERRUPTED = 130
    """Ctrl-C."""
