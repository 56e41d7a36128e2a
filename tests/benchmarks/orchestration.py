"""What it costs to deploy with a flow instead of a script: seconds, CPU seconds, memory.

python -m tests.benchmarks orchestration
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from deployments.stack.state import CHECKOUT
from tests.benchmarks.costs import read_cpu_seconds, read_memory
from tests.benchmarks.stack import apply_environment, own_stack
from tests.benchmarks.timeline import Mark, ProcessWatch, read_gaps, read_marks
from tests.running_stack import WITHIN, RunningStack

ENVIRONMENT = "shop-benchmark"
ROUNDS = 5
WINDOW, BASELINE = 1.0, 0.2
"""Seconds that the flow watches the service on purpose; a script does not."""
BY_SCRIPT, BY_FLOW = "v1.1.0", "v1.0.0"
"""Two good releases in turns: each deploy brings the one that does not run."""
IDLE_SECONDS = 5


class Cost(NamedTuple):
    seconds: float
    cpu_seconds: float


class FlowRun(NamedTuple):
    cost: Cost
    marks: list[Mark]
    gaps: list[tuple[str, float]]


def main() -> None:
    console = Console(width=120)
    with own_stack() as stack:
        file = apply_environment(
            stack,
            ENVIRONMENT,
            rollout={
                "steps": [100],
                "window_seconds": WINDOW,
                "baseline_seconds": BASELINE,
                "keep_releases": 0,
            },
        )
        time.sleep(IDLE_SECONDS)
        memory = read_memory(stack)
        deploy_by_script(stack, file)  # the first of each also checks its release out
        deploy_by_flow(stack)
        scripts, flows = [], []
        for _ in range(ROUNDS):
            scripts.append(deploy_by_script(stack, file))
            flows.append(deploy_by_flow(stack))
    show_costs(console, scripts, [flow.cost for flow in flows])
    show_timeline(console, [flow.marks for flow in flows])
    show_gaps(console, [flow.gaps for flow in flows])
    show_memory(console, memory)


def deploy_by_script(stack: RunningStack, file: Path) -> Cost:
    command = [sys.executable, "-m", "tests.benchmarks.plain_deploy", str(file), BY_SCRIPT]
    before, began = os.times(), time.monotonic()
    subprocess.run(command, check=True, timeout=WITHIN, cwd=CHECKOUT, env={**os.environ, **stack.surroundings})
    seconds, after = time.monotonic() - began, os.times()
    return Cost(seconds, _of_children(after) - _of_children(before))


def deploy_by_flow(stack: RunningStack) -> FlowRun:
    cpu, before, began, at = read_cpu_seconds(stack), os.times(), time.monotonic(), time.time()
    with ProcessWatch(stack.pids()["worker"]) as watch:
        output = stack.run("run", "deploy", ENVIRONMENT, "-p", f"version={BY_FLOW}", "--wait", "--json")
    seconds, after, returned_at = time.monotonic() - began, os.times(), time.time()
    run_id = json.loads(output.splitlines()[-1])["run"]
    cpu_seconds = read_cpu_seconds(stack) - cpu + _of_children(after) - _of_children(before)
    marks = [
        Mark("command starts", at),
        *read_marks(stack, run_id, watch.appeared_at),
        Mark("command returns", returned_at),
    ]
    return FlowRun(Cost(seconds, cpu_seconds), marks, read_gaps(stack, ENVIRONMENT, run_id))


def show_costs(console: Console, scripts: list[Cost], flows: list[Cost]) -> None:
    table = Table("deploy", "seconds", "CPU seconds", title=f"One deploy, in turns ({ROUNDS} each, medians)")
    script, flow = _median(scripts), _median(flows)
    watched = WINDOW + BASELINE
    added = flow.seconds - watched - script.seconds
    table.add_row("script", f"{script.seconds:.2f}", f"{script.cpu_seconds:.2f}")
    table.add_row("flow", f"{flow.seconds:.2f}", f"{flow.cpu_seconds:.2f}")
    table.add_row("flow without its watching", f"{flow.seconds - watched:.2f}", "")
    table.add_row("the flow adds", f"{added:.2f}", f"{flow.cpu_seconds - script.cpu_seconds:.2f}")
    table.add_row(
        "flow : script",
        f"{(flow.seconds - watched) / script.seconds:.1f} : 1",
        f"{flow.cpu_seconds / script.cpu_seconds:.1f} : 1",
    )
    table.caption = (
        f"From the command to its return with Done. Watching: {BASELINE:g} s before, {WINDOW:g} s after the switch."
        f" Every flow: {', '.join(f'{cost.seconds:.2f}' for cost in flows)} s."
    )
    console.print(table)


def show_timeline(console: Console, runs: list[list[Mark]]) -> None:
    table = Table("mark", "at (s)", "until the next (s)", title="Where the flow's time goes (medians)")
    names = [mark.what for mark in runs[0]]
    comparable = [marks for marks in runs if [mark.what for mark in marks] == names]
    for number, name in enumerate(names):
        at = median(marks[number].at - marks[0].at for marks in comparable)
        following = [marks[number + 1].at - marks[number].at for marks in comparable if number + 1 < len(marks)]
        table.add_row(name, f"{at:.2f}", f"{median(following):.2f}" if following else "")
    table.caption = f"{len(comparable)} of {len(runs)} runs, those with the same order of marks as the first."
    console.print(table)


def show_gaps(console: Console, runs: list[list[tuple[str, float]]]) -> None:
    table = Table("from the end of a step to the beginning of the next", "median (s)", "longest (s)")
    for number, (name, _) in enumerate(runs[0]):
        seconds = [gaps[number][1] for gaps in runs]
        table.add_row(name, f"{median(seconds):.2f}", f"{max(seconds):.2f}")
    console.print(table)


def show_memory(console: Console, memory: dict[str, int]) -> None:
    table = Table("part, idle", "MB", title="Memory (what processes share is counted once)")
    for name, megabytes in memory.items():
        table.add_row(name, str(megabytes))
    console.print(table)


def _median(costs: list[Cost]) -> Cost:
    return Cost(median(cost.seconds for cost in costs), median(cost.cpu_seconds for cost in costs))


def _of_children(times: os.times_result) -> float:
    return times.children_user + times.children_system


if __name__ == "__main__":
    main()
