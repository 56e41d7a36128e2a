"""End the release processes of a daemon that is gone."""

import signal
import time
from pathlib import Path

from deployments.sandbox.processes import find, is_alive, send
from deployments.sandbox.state import lock, read_state

_END_WITHIN = 5.0


def end_leftovers(folder: Path) -> list[int]:
    """End them all, and return the pids. The state stays: the next daemon starts them again.

    Raises BlockingIOError while a daemon holds the folder.
    """
    if not folder.is_dir():
        return []
    with lock(folder):
        left = []
        for release in read_state(folder).releases.values():
            for replica in release.replicas:
                if replica.pid is None:
                    find(replica, folder / "checkouts" / release.commit)
                if is_alive(replica):
                    left.append(replica)
        for number in (signal.SIGTERM, signal.SIGKILL):
            for replica in left:
                send(replica, number)
            deadline = time.monotonic() + _END_WITHIN
            while any(map(is_alive, left)) and time.monotonic() < deadline:
                time.sleep(0.02)
        return [replica.pid for replica in left if replica.pid]
