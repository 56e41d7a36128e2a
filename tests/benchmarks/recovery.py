"""How long a run that died stays unrecovered: from SIGKILL to the ending in the ledger, the state before verified.

    python -m tests.benchmarks recovery

A deploy that watches its first step is killed; or its worker with it, and then counted from when a worker runs again.
"""

import os
import signal
import time
from collections.abc import Callable
from statistics import median
from typing import NamedTuple

import psutil
from rich.console import Console
from rich.table import Table

from tests.benchmarks.stack import apply_environment, own_stack
from tests.benchmarks.timeline import as_seconds, read_rows, read_states
from tests.flows.records import Records
from tests.running_stack import RunningStack

RUNS = 5
ENVIRONMENT, VERSION = "shop-recovered", "v1.1.0"


class Recovery(NamedTuple):
    """Seconds since the kill, or since a worker runs again."""

    noticed: float
    """The supervisor has asked for a recover."""
    begun: float
    """Its process runs, and is in the ledger."""
    undone: float
    """All traffic is back."""
    ended: float
    """The state before was verified, and the ending is written."""


class Case(NamedTuple):
    what: str
    kill: Callable[[RunningStack], float]
    """Gives back when the clock starts."""
    goal: float


def kill_flow(stack: RunningStack) -> float:
    (flow,) = psutil.Process(stack.pids()["worker"]).children()
    os.kill(flow.pid, signal.SIGKILL)
    return time.time()


def kill_worker_and_flow(stack: RunningStack) -> float:
    worker = psutil.Process(stack.pids()["worker"])
    for process in (worker, *worker.children()):
        os.kill(process.pid, signal.SIGKILL)
    stack.run("up")
    return psutil.Process(stack.pids()["worker"]).create_time()


CASES = (
    Case("the flow's process", kill_flow, 15),
    Case("worker and flow, from when a worker runs again", kill_worker_and_flow, 30),
)


def main() -> None:
    table = Table(title=f"A deploy killed under traffic, {RUNS} times each, median seconds")
    for column in ("killed", *Recovery._fields, "slowest", "goal"):
        table.add_column(column)
    with own_stack() as stack:
        apply_environment(stack, ENVIRONMENT, rollout={"steps": [50, 100], "step_seconds": 120, "window_seconds": 120})
        for case in CASES:
            add_row(table, case, [recover(stack, case) for _ in range(RUNS)])
    Console(width=120).print(table)


def recover(stack: RunningStack, case: Case) -> Recovery:
    records = Records(stack)
    newest, earlier = records.newest_run(ENVIRONMENT), records.runs_of("recover")
    stack.run("run", "deploy", ENVIRONMENT, "-p", f"version={VERSION}")
    run_id = records.wait_until_watching(ENVIRONMENT, newest)
    since = case.kill(stack)
    run = records.wait_for_ending(run_id)
    assert run["ending"] == "Rolled back", run["message"]
    records.assert_settled(ENVIRONMENT)
    (recover_id,) = records.runs_of("recover")[len(earlier) :]
    return _measured(stack, recover_id, since)


def _measured(stack: RunningStack, recover_id: str, since: float) -> Recovery:
    asked = min(as_seconds(state["timestamp"]) for state in read_states(stack, recover_id))
    rows = read_rows(stack, recover_id)

    def when(event: str, effect: str | None = None) -> float:
        found = (row for row in rows if row["event"] == event and effect in (None, row["detail"].get("effect")))
        return as_seconds(str(next(found)["at"])) - since

    return Recovery(asked - since, when("run started"), when("effect done", "shift traffic"), when("dead runs ended"))


def add_row(table: Table, case: Case, runs: list[Recovery]) -> None:
    medians = [median(run[number] for run in runs) for number in range(len(Recovery._fields))]
    slowest = max(run.ended for run in runs)
    table.add_row(case.what, *(f"{seconds:.1f}" for seconds in medians), f"{slowest:.1f}", f"{case.goal:g}")


if __name__ == "__main__":
    main()
