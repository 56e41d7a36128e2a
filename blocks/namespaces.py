"""Leave what this process shares with all others on this machine. Linux only."""

import ctypes
import os
from pathlib import Path

MOUNTS, MEMORY, PROCESSES, NETWORK = 0x00020000, 0x08000000, 0x20000000, 0x40000000
"""From <sched.h>: Python has them since 3.12."""
_USERS = 0x10000000


def leave(what: int) -> None:
    """Who is not root stays the same user, among users of its own. Raises OSError where the kernel refuses."""
    user, group = os.geteuid(), os.getegid()
    if ctypes.CDLL(None, use_errno=True).unshare(what if user == 0 else what | _USERS) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
