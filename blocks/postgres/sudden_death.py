"""The disaster of a drill: a throw-away server is killed without a chance to write anything down."""

import ctypes
import os
import signal
from contextlib import suppress
from pathlib import Path

from blocks.errors import Refused
from blocks.postgres.connection import read_conninfo
from blocks.postgres.scratch import PREFIX

_REMOVE = 0  # IPC_RMID of <sys/ipc.h>
_PID, _MEMORY = 0, 6
"""Lines of postmaster.pid."""


def kill_throwaway_server(url: str) -> None:
    """SIGKILL, and its piece of System V memory is given back, which nobody else would do.

    Raises Refused for any server that does not lie in a scratch folder of ours.
    """
    folder = Path(read_conninfo(url).get("host", ""))
    if not folder.is_absolute() or not folder.name.startswith(PREFIX):
        raise Refused("Only a throw-away server is killed in a drill, and this is another one.")
    lines = (folder / "data" / "postmaster.pid").read_text().splitlines()
    os.kill(int(lines[_PID]), signal.SIGKILL)  # its children see that, and end
    memory = lines[_MEMORY].split()[1:] if len(lines) > _MEMORY else []
    with suppress(ValueError):
        for identifier in memory:
            ctypes.CDLL(None).shmctl(int(identifier), _REMOVE, None)
