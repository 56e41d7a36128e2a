"""Run a program that sees no processes but its own, all of which end with it, whatever they do to live on.

`python -P -m blocks.alone COMMAND…`, as root or inside of `blocks.cut_off`. The kernel ends them when it ends. Shared
memory is its own, too: what a killed PostgreSQL leaves there is gone. Linux only: it takes a namespace of processes.
"""

import ctypes
import signal
import subprocess
import sys

from blocks.namespaces import MEMORY, MOUNTS, PROCESSES, leave

CANNOT = "A program cannot be alone on this machine"
_SIGNAL_WHEN_PARENT_DIES = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>
_PRIVATE = 0x40000 | 0x4000  # MS_PRIVATE and MS_REC of <sys/mount.h>


def main(command: list[str]) -> int:
    """Its exit code."""
    try:
        leave(MOUNTS | MEMORY | PROCESSES)
    except OSError as error:
        sys.exit(f"{CANNOT}: {error}")
    try:
        return subprocess.call(command, stdin=subprocess.DEVNULL, preexec_fn=_hide_the_others)
    except subprocess.SubprocessError:
        sys.exit(f"{CANNOT}: it may not mount")


def _hide_the_others() -> None:
    """It only makes system calls. It runs as the first of the new processes, before it becomes the program."""
    libc = ctypes.CDLL(None, use_errno=True)
    # A signal from the end of a pipe does not reach the first process; that of its parent's death does.
    libc.prctl(_SIGNAL_WHEN_PARENT_DIES, signal.SIGKILL)
    for source, target, kind, flags in (
        (b"none", b"/", None, _PRIVATE),
        (b"proc", b"/proc", b"proc", 0),
        (b"tmpfs", b"/dev/shm", b"tmpfs", 0),
    ):
        if libc.mount(source, target, kind, flags, None) != 0:
            raise OSError(ctypes.get_errno(), "mount")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
