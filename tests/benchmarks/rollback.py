"""How long a bad release keeps its traffic, and how many visitors that costs: end to end, on a real stack.

    python -m tests.benchmarks rollback

Every fifth request to /offers fails. Nothing before the traffic asks there.
"""

import json
from pathlib import Path
from statistics import median
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from deployments.shop.visits import Visit, read_visits
from tests.benchmarks.stack import apply_environment, own_stack
from tests.benchmarks.timeline import as_seconds, read_rows
from tests.benchmarks.visiting import visitors
from tests.running_stack import RunningStack

RUNS = 7
BAD = "v1.3.0"
VISITS_A_SECOND = 20
WINDOW = 60
"""Seconds that each step is watched at the most."""


class Case(NamedTuple):
    environment: str
    reaching: str
    steps: list[int]
    probes: list[str]
    target: float
    """Seconds that the median may take."""


CASES = (
    Case("shop-all", "20/s", [100], [], 5),
    Case("shop-all-probed", "20/s and 5 probes/s", [100], ["/offers"], 5),
    Case("shop-tenth", "2/s", [10, 100], [], 15),
    Case("shop-tenth-probed", "2/s and 5 probes/s", [10, 100], ["/offers"], 15),
)


class Rollback(NamedTuple):
    ending: str
    shifted: float
    """Seconds from the first change of the traffic to the end of the one that took it all back."""
    served: float
    """Seconds from the beginning of the first visitor's request that it answered to the end of the last."""
    requests: int
    failed: int


def main() -> None:
    table = Table(title=f"A bad release, {RUNS} times each, seconds", caption="From first traffic on it to all back.")
    for column in ("requests that reach it", "rolled back", "median", "p90", "goal", "visitors' log: median", "p90"):
        table.add_column(column)
    for column in ("requests on it: median", "visitors with an error: median", "most"):
        table.add_column(column)
    with own_stack() as stack:
        for case in CASES:
            add_row(table, case, roll_back_repeatedly(stack, case))
    Console(width=150).print(table)


def roll_back_repeatedly(stack: RunningStack, case: Case) -> list[Rollback]:
    apply_environment(
        stack,
        case.environment,
        rollout={"steps": case.steps, "step_seconds": WINDOW, "window_seconds": WINDOW},
        limits={"probes": case.probes, "minimum_samples": 30},
    )
    log = stack.folder.parent / f"{case.environment}.jsonl"
    with visitors(stack.layout.front_url("staging"), log, VISITS_A_SECOND):
        return [roll_back(stack, case.environment, log) for _ in range(RUNS)]


def roll_back(stack: RunningStack, environment: str, log: Path) -> Rollback:
    _, output = stack.try_to_run("run", "deploy", environment, "-p", f"version={BAD}", "--wait", "--json")
    result = json.loads(output.splitlines()[-1])
    shifts = [
        as_seconds(str(row["at"]))
        for row in read_rows(stack, result["run"])
        if row["detail"].get("effect") == "shift traffic" and row["event"] != "effect failed"
    ]
    return _measured(result["ending"], shifts, [visit for visit in read_visits(log, shifts[0]) if visit.version == BAD])


def _measured(ending: str, shifts: list[float], visits: list[Visit]) -> Rollback:
    ends = [visit.at + visit.ms / 1000 for visit in visits]
    return Rollback(
        ending,
        shifted=shifts[-1] - shifts[0],
        served=max(ends) - min(visit.at for visit in visits) if visits else 0,
        requests=len(visits),
        failed=sum((visit.status or 500) >= 500 for visit in visits),
    )


def add_row(table: Table, case: Case, runs: list[Rollback]) -> None:
    shifted, served = sorted(run.shifted for run in runs), sorted(run.served for run in runs)
    table.add_row(
        case.reaching,
        f"{sum(run.ending == 'Rolled back' for run in runs)} of {len(runs)}",
        f"{median(shifted):.1f}",
        f"{_p90(shifted):.1f}",
        f"{case.target:g}",
        f"{median(served):.1f}",
        f"{_p90(served):.1f}",
        f"{median(run.requests for run in runs):g}",
        f"{median(run.failed for run in runs):g}",
        str(max(run.failed for run in runs)),
    )


def _p90(ranked: list[float]) -> float:
    return ranked[min(len(ranked) - 1, int(0.9 * len(ranked)))]


if __name__ == "__main__":
    main()
