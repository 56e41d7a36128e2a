"""What processes cost: CPU seconds and memory."""

from contextlib import suppress

import psutil

from tests.running_stack import RunningStack

ORCHESTRATION = ("server", "run-starter", "worker", "supervisor", "postgres")
"""The parts that work for a flow and not for a script."""


def read_cpu_seconds(stack: RunningStack) -> float:
    """What the orchestrating parts have used so far, those of their processes included that have ended."""
    return sum(_of_family(pid) for name, pid in stack.pids().items() if name in ORCHESTRATION)


def read_memory(stack: RunningStack) -> dict[str, int]:
    """Part → MB; what its processes share is counted once."""
    return {name: part["memory_mb"] for name, part in stack.status().items()}


def _of_family(pid: int) -> float:
    process = psutil.Process(pid)
    seconds = 0.0
    for member in [process, *process.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            times = member.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds
