"""Whether processes have ended. One that its parent has not yet waited for has."""

import psutil


def have_ended(*processes: psutil.Process | int) -> bool:
    return all(map(_has_ended, processes))


def _has_ended(process: psutil.Process | int) -> bool:
    """A process may go between any two looks at it."""
    try:
        found = psutil.Process(process) if isinstance(process, int) else process
        return not found.is_running() or found.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
