"""What a migration costs with a rehearsal before it and a backup behind it, and what visitors notice of it.

    python -m tests.benchmarks migration

The sample service in production, with its 20 visitors a second, is brought to the schema of v2.0.0 and back again.
"""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple

import psycopg
from rich.console import Console
from rich.table import Table

from deployments.shop.visits import Visit, failures_without_fault, read_visits
from tests.benchmarks.costs import read_cpu_seconds
from tests.benchmarks.stack import own_stack
from tests.flows.runner import WORKERS_PATH
from tests.running_stack import WITHIN, RunningStack

ENVIRONMENT, DATABASE = "shop-production", "shop_production"
RELEASE, BEFORE = "v2.0.0", "0001"
"""Its migration adds a column to `tasks`; the revision that stands before it."""
ROWS = 300_000
ROUNDS = 3
CALM_SECONDS = 10
REPORT_SECONDS = 22
"""Planning takes about twelve of them."""


class Cost(NamedTuple):
    seconds: float
    cpu_seconds: float


class Turn(NamedTuple):
    cost: Cost
    phases: dict[str, float]
    """Name → seconds; none of the bare command."""
    visits: list[Visit]


def main() -> None:
    with own_stack() as stack, checkout(stack) as folder:
        prepare(stack)
        calm = calm_visits(stack)
        turns: dict[str, list[Turn]] = {}
        for _ in range(ROUNDS):
            for name, migrate in {
                "alembic upgrade head": lambda: run_alembic(stack, folder, "upgrade", "head"),
                "migrate-with-backup": lambda: migrate_with_backup(stack, "no"),
                "the same, writes stopped": lambda: migrate_with_backup(stack, "yes"),
                "the same, behind a long report": lambda: migrate_behind_a_report(stack),
            }.items():
                turns.setdefault(name, []).append(measured(stack, migrate))
                run_alembic(stack, folder, "downgrade", BEFORE)
    console = Console(width=120)
    show_costs(console, turns)
    show_phases(console, turns)
    show_visitors(console, calm, turns)


@contextmanager
def checkout(stack: RunningStack) -> Iterator[Path]:
    """The release's own files."""
    folder = stack.folder.parent / "checkout"
    git = ["git", "-C", str(stack.layout.repository), "worktree"]
    subprocess.run([*git, "add", "--quiet", str(folder), RELEASE], check=True, timeout=60)
    yield folder
    subprocess.run([*git, "remove", "--force", str(folder)], check=True, timeout=60)


def prepare(stack: RunningStack) -> None:
    """A table that is not empty, and a proven backup of it."""
    fill = (
        "INSERT INTO tasks (user_id, title) SELECT one.id, 'Task ' || number"
        " FROM generate_series(1, %s) number, (SELECT id FROM users LIMIT 1) one"
    )
    with psycopg.connect(stack.layout.database_url(DATABASE), autocommit=True, connect_timeout=5) as connection:
        connection.execute(fill, [ROWS])
    for procedure in ("back-up-database", "verify-backup"):
        stack.run("run", procedure, ENVIRONMENT, "--wait")


def calm_visits(stack: RunningStack) -> list[Visit]:
    began = time.time()
    time.sleep(CALM_SECONDS)
    return visits_since(stack, began)


def measured(stack: RunningStack, migrate: Callable[[], tuple[float, dict[str, float]]]) -> Turn:
    cpu, at, began = read_cpu_seconds(stack), time.time(), time.monotonic()
    of_client, phases = migrate()
    seconds = time.monotonic() - began
    return Turn(Cost(seconds, read_cpu_seconds(stack) - cpu + of_client), phases, visits_since(stack, at))


def run_alembic(stack: RunningStack, folder: Path, *words: str) -> tuple[float, dict[str, float]]:
    """As the runbook has it, by hand. Returns the CPU seconds of the command."""
    before = os.times()
    url = stack.layout.database_url(DATABASE)
    environment = {**os.environ, "PATH": WORKERS_PATH, "DATABASE_URL": url}
    command = ["alembic", *words]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, timeout=WITHIN)
    return _of_children(os.times()) - _of_children(before), {}


def migrate_with_backup(stack: RunningStack, stop_writes: str) -> tuple[float, dict[str, float]]:
    """Returns the CPU seconds of the command, and each phase's seconds."""
    before = os.times()
    options = ("-p", f"version={RELEASE}", "-p", f"stop_writes={stop_writes}", "--wait", "--json")
    result = json.loads(stack.run("run", "migrate-with-backup", ENVIRONMENT, *options).splitlines()[-1])
    report = stack.folder / "evidence" / "reports" / ENVIRONMENT / f"{result['run']}.json"
    phases = {phase["phase"]: phase["seconds"] for phase in json.loads(report.read_text())["phases"]}
    return _of_children(os.times()) - _of_children(before), phases


def migrate_behind_a_report(stack: RunningStack) -> tuple[float, dict[str, float]]:
    """A transaction holds the table when the migration wants it, and goes on for seconds."""
    with psycopg.connect(stack.layout.database_url(DATABASE), connect_timeout=5) as connection:
        connection.execute("SELECT count(*) FROM tasks")
        over = threading.Timer(REPORT_SECONDS, connection.commit)
        over.start()
        try:
            return migrate_with_backup(stack, "no")
        finally:
            over.join()


def visits_since(stack: RunningStack, at: float) -> list[Visit]:
    return list(read_visits(stack.folder / "visitors.jsonl", at))


def show_costs(console: Console, turns: dict[str, list[Turn]]) -> None:
    table = Table("", "seconds", "CPU seconds", title=f"{ROWS} rows, a column added; medians of {ROUNDS}, in turns")
    for name, runs in turns.items():
        seconds = median(run.cost.seconds for run in runs)
        table.add_row(name, f"{seconds:.1f}", f"{median(run.cost.cpu_seconds for run in runs):.1f}")
    table.caption = "CPU: the command, worker, Prefect, ledger and database, with what visitors ask of it meanwhile."
    console.print(table)


def show_phases(console: Console, turns: dict[str, list[Turn]]) -> None:
    for name, runs in turns.items():
        if not runs[0].phases:
            continue
        table = Table("phase", "seconds", title=name)
        for phase in runs[0].phases:
            table.add_row(phase, f"{median(run.phases[phase] for run in runs):.2f}")
        rest = median(run.cost.seconds - sum(run.phases.values()) for run in runs)
        table.add_row("all else: start the run, look again, end", f"{rest:.2f}")
        console.print(table)


def show_visitors(console: Console, calm: list[Visit], turns: dict[str, list[Turn]]) -> None:
    table = Table("", "requests", "failed", "p95, ms", "downtime, s", title="What visitors notice, medians")
    for name, sets in {
        "nothing goes on": [calm],
        **{name: [run.visits for run in runs] for name, runs in turns.items()},
    }.items():
        table.add_row(
            name,
            f"{median(map(len, sets)):g}",
            f"{median(len(failures_without_fault(visits)) for visits in sets):g}"
            f" (most: {max(len(failures_without_fault(visits)) for visits in sets)})",
            f"{median(_p95(visits) for visits in sets):.0f}",
            f"{median(map(_downtime, sets)):.1f}",
        )
    table.caption = "Downtime: from the beginning of the first request that failed to the end of the last."
    console.print(table)


def _p95(visits: list[Visit]) -> float:
    return quantiles((visit.ms for visit in visits), n=20)[-1]


def _downtime(visits: list[Visit]) -> float:
    failed = failures_without_fault(visits)
    return max(visit.at + visit.ms / 1000 for visit in failed) - failed[0].at if failed else 0


def _of_children(times: os.times_result) -> float:
    return times.children_user + times.children_system


if __name__ == "__main__":
    main()
