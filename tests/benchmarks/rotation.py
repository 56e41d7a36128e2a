"""What 50 visitors a second, most of them logged in, notice of a rotation.

    python -m tests.benchmarks rotation

The sample service in production, whose secrets are rotated one after the other, and then all at once.
"""

import time
from statistics import median, quantiles
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from deployments.shop.visits import Visit, failures_without_fault, read_visits
from tests.benchmarks.stack import own_stack
from tests.benchmarks.visiting import visitors
from tests.running_stack import RunningStack

ENVIRONMENT = "shop-production"
VISITS_A_SECOND, OF_THE_STACK = 50, 20
ROUNDS = 3
TURNS = {
    "nothing goes on": None,
    "`postgres-role`": "database",
    "`signing-key`": "session",
    "`encryption-key`, made known": "data",
    "`encryption-key`, used from then on": "data",
    "all three": "",
}
"""What is told → names of secrets, by commas; empty: all of them."""
CALM_SECONDS = 10


class Turn(NamedTuple):
    seconds: float
    visits: list[Visit]


def main() -> None:
    turns: dict[str, list[Turn]] = {}
    with own_stack() as stack:
        log, password = stack.folder.parent / "more-visitors.jsonl", stack.layout.credentials.production.demo_password
        with visitors(stack.layout.front_url("production"), log, VISITS_A_SECOND - OF_THE_STACK, password):
            for _ in range(ROUNDS):
                for name, secrets in TURNS.items():
                    at, began = time.time(), time.monotonic()
                    rotate(stack, secrets)
                    seconds = time.monotonic() - began
                    visits = [visit for one in (log, stack.layout.visits) for visit in read_visits(one, at)]
                    turns.setdefault(name, []).append(Turn(seconds, visits))
    show(turns)


def rotate(stack: RunningStack, secrets: str | None) -> None:
    if secrets is None:
        time.sleep(CALM_SECONDS)
    else:
        stack.run("run", "rotate-secrets", ENVIRONMENT, "-p", f"secrets={secrets}", "--wait")


def show(turns: dict[str, list[Turn]]) -> None:
    table = Table(title=f"Rotations under {VISITS_A_SECOND} visits a second, {ROUNDS} times each, in turns")
    for column in ("rotated", "seconds, median", "visits in all", "failed", "sessions lost", "p95, ms"):
        table.add_column(column)
    for name, runs in turns.items():
        visits = [visit for run in runs for visit in run.visits]
        table.add_row(
            name,
            f"{median(run.seconds for run in runs):.1f}",
            str(len(visits)),
            str(len(failures_without_fault(visits))),
            str(sum(visit.status == 401 for visit in visits)),
            f"{quantiles((visit.ms for visit in visits), n=20)[-1]:.0f}",
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
