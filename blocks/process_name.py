"""A process under a name that no other one ever bears, so that another process of its machine can tell that it died.

Linux only: elsewhere no process has a name, and none is known to be dead.
"""

import os
from pathlib import Path

_STATE, _STARTED = 0, 19
"""Fields of /proc/PID/stat after the command's name (man 5 proc): a letter, and clock ticks since boot."""
_DEAD = frozenset("ZX")


def own_process_name() -> str:
    """`BOOT NAMESPACE PID STARTED`: which boot of which machine, who counts the pids there. Empty where unknown."""
    pid = os.getpid()
    fields = _read_fields(pid)
    return f"{_read_machine()} {pid} {fields[_STARTED]}" if fields else ""


def has_died(name: str) -> bool:
    """False also where that cannot be told from here: another machine, another container, no name."""
    machine, pid, started = name.rsplit(" ", 2) if name else ("", "", "")
    if not machine or machine != _read_machine():
        return False
    fields = _read_fields(int(pid))
    if not fields:
        return not _is_there(int(pid))
    return fields[_STATE] in _DEAD or fields[_STARTED] != started


def _read_machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _read_fields(pid: int) -> list[str]:
    """Empty where there is no such process, or it is hidden. The command's name may hold spaces and brackets."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _is_there(pid: int) -> bool:
    """Also one that /proc hides from other users."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
