"""What 50 visitors a second, most of them logged in, notice of a rotation.

    python -m tests.benchmarks rotation

The sample service in production: each kind of secret is rotated alone, and then five at once. Beside the visitors
somebody asks for its detailed health, which needs the database and Redis.
"""

import secrets as random_values
import time
from collections import Counter
from contextlib import ExitStack
from itertools import chain
from statistics import median, quantiles
from typing import NamedTuple

import yaml
from rich.console import Console
from rich.table import Table

from deployments.shop.visits import Visit, failures_without_fault, read_visits
from deployments.stack.state import write_private
from tests.benchmarks.stack import own_stack
from tests.benchmarks.visiting import visitors
from tests.flows.environments import EVERY_SECRET, write_environments
from tests.flows.mounted import ENVIRONMENT as EVERY_KIND
from tests.flows.mounted import Mounted, mounted_beside
from tests.flows.production import Production
from tests.running_stack import RunningStack

VISITS_A_SECOND, OF_THE_STACK = 50, 20
ROUNDS = 3
TURNS = {
    "nothing goes on": "",
    "`postgres-role`": "database",
    "`redis-acl`": "cache",
    "`generated`": "job",
    "`provided`": "webhook",
    "`signing-key`": "session",
    "`encryption-key`, made known": "data",
    "`encryption-key`, used from then on": "data",
    "the first five at once": "database, cache, job, webhook, session",
}
"""What is told → names of secrets by commas. A key that encrypts takes two turns."""
CALM_SECONDS = 10


class Turn(NamedTuple):
    seconds: float
    visits: list[Visit]
    health: list[int]
    """Statuses."""


def main() -> None:
    turns: dict[str, list[Turn]] = {}
    with ExitStack() as parts:
        stack = parts.enter_context(own_stack())
        mounted = parts.enter_context(mounted_beside(prepare_production(stack), stack.folder.parent))
        log, password = stack.folder.parent / "more-visitors.jsonl", stack.layout.credentials.production.demo_password
        with visitors(stack.layout.front_url("production"), log, VISITS_A_SECOND - OF_THE_STACK, password):
            for _ in range(ROUNDS):
                for name, secrets in TURNS.items():
                    mounted.give_webhook(random_values.token_urlsafe())
                    at, began = time.time(), time.monotonic()
                    with mounted.health_meanwhile() as health:
                        rotate(mounted, secrets)
                    seconds = time.monotonic() - began
                    visits = [visit for one in (log, stack.layout.visits) for visit in read_visits(one, at)]
                    turns.setdefault(name, []).append(Turn(seconds, visits, health))
    show(turns)


def prepare_production(stack: RunningStack) -> Production:
    folder = stack.folder.parent
    token = folder / "token"
    write_private(token, stack.layout.credentials.production.sandbox_token)
    (file,) = [path for path in write_environments(folder) if path.stem == EVERY_KIND]
    content = yaml.safe_load(file.read_text())
    content["secrets"]["rotated"]["database"] = EVERY_SECRET["database"]
    file.write_text(yaml.safe_dump(content))
    stack.run("apply", str(file))
    return Production(stack, token)


def rotate(mounted: Mounted, secrets: str) -> None:
    if secrets:
        mounted.production.stack.run("run", "rotate-secrets", EVERY_KIND, "-p", f"secrets={secrets}", "--wait")
    else:
        time.sleep(CALM_SECONDS)


def show(turns: dict[str, list[Turn]]) -> None:
    table = Table(title=f"Rotations under {VISITS_A_SECOND} visits a second, {ROUNDS} times each, in turns")
    for column in ("rotated", "seconds, median", "visits in all", "failed", "sessions lost", "p95, ms", "health"):
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
            " ".join(f"{count} × {status}" for status, count in Counter(chain(*(run.health for run in runs))).items()),
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
