"""A recovery drill of a gigabyte beside the runbook's own commands: seconds, CPU seconds, and where the drill's go.

    python -m tests.benchmarks drills

The sample service in staging, without visitors; its database holds the gigabyte of `backups` beside its own tables.
"""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil
import psycopg
import pyrage
from rich.console import Console
from rich.table import Table

from blocks.postgres.connection import libpq_environment
from deployments.stack.first_release import FIRST_VERSION
from deployments.stack.postgres_home import find_programs
from tests.benchmarks.backups import FILL
from tests.benchmarks.costs import read_cpu_seconds
from tests.benchmarks.stack import apply_environment, own_stack
from tests.deployments.shop.processes import free_port, process, running_postgres
from tests.flows.runner import WORKERS_PATH
from tests.running_stack import WITHIN, RunningStack

ENVIRONMENT, DATABASE = "shop-staging", "shop_staging"
MOST_SECONDS = 900
ROUNDS = int(os.environ.get("ROUNDS", "3"))
RECOVERY_TEST, OTHERS = "recovery-test", ("database-loss", "service-outage", "region-loss", "total-loss")
DURABLE, HASTY = "script, durable server", "script, fsync off"
TASKS = (
    "INSERT INTO tasks (user_id, title) SELECT one.id, 'Task ' || number"
    " FROM generate_series(1, 100000) number, (SELECT id FROM users LIMIT 1) one"
)
LARGE_OBJECTS_READABLE = (
    "DO $$ DECLARE one oid; BEGIN FOR one IN SELECT oid FROM pg_largeobject_metadata LOOP"
    " EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO shop_backup', one); END LOOP; END $$"
)
ROLES = (DATABASE, "shop_backup", "shop_restore")
"""What the dump mentions."""
DUMP = 'pg_dump | gzip > "$STORED"'
RESTORE = """
createdb restored
cp "$STORED" "$FILE"
gunzip -c "$FILE" | psql -q -v ON_ERROR_STOP=1 restored
rm "$FILE"
"""
UNTIL_HEALTHY = 'until curl -sf --max-time 10 "$URL/health"; do sleep 0.1; done'


class Cost(NamedTuple):
    seconds: float
    cpu_seconds: float


class Held(NamedTuple):
    """A drill that kept its objectives."""

    cost: Cost
    phases: dict[str, float]
    """Name → seconds, in their order."""
    recovered: float
    """Seconds from the disaster until the service was verified."""


class Bench(NamedTuple):
    stack: RunningStack
    servers: dict[str, str]
    """Contender → URL of the server that the script restores into; it is there already."""
    checkout: Path
    """The release; for the script it is checked out already."""


def main() -> None:
    console = Console(width=120)
    scripts: dict[str, list[Cost]] = {DURABLE: [], HASTY: []}
    drills: dict[str, list[Held]] = {scenario: [] for scenario in (RECOVERY_TEST, *OTHERS)}
    with bench() as on:
        console.print(f"{database_megabytes(on)} MB, load {loads()}")
        for _ in range(ROUNDS):
            for name, costs in scripts.items():
                costs.append(recover_by_hand(on, on.servers[name]))
            drills[RECOVERY_TEST].append(hold(on.stack, RECOVERY_TEST))
            console.print(f"load {loads()}")
        for scenario in OTHERS:
            drills[scenario].append(hold(on.stack, scenario))
            console.print(f"{scenario}: {drills[scenario][0].cost.seconds:.1f} s, load {loads()}")
    show_costs(console, scripts, drills)
    for scenario, held in drills.items():
        show_phases(console, scenario, held)


@contextmanager
def bench() -> Iterator[Bench]:
    with ExitStack() as parts:
        stack = parts.enter_context(own_stack())
        parts.enter_context(stack.suspended("visitors"))
        hasty = parts.enter_context(running_postgres())
        password, port = stack.layout.credentials.postgres_password, stack.layout.ports["postgres"]
        durable = f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
        on = Bench(stack, {DURABLE: durable, HASTY: hasty.url()}, stack.folder.parent / "checkout")
        for role in ROLES:
            hasty.execute(f"CREATE ROLE {role}")
        fill(on)
        check_out(on)
        yield on


def fill(on: Bench) -> None:
    """A gigabyte, and both its backups."""
    with psycopg.connect(on.stack.layout.database_url(DATABASE), autocommit=True, connect_timeout=5) as connection:
        for statement in (TASKS, *FILL, LARGE_OBJECTS_READABLE):
            connection.execute(statement.encode())
    for procedure in ("back-up-database", "verify-backup"):
        on.stack.run("run", procedure, ENVIRONMENT, "--wait")
    prepare_for_losses(on.stack)
    shell(on, DUMP, database_url(on.servers[DURABLE], DATABASE))


def prepare_for_losses(stack: RunningStack) -> None:
    """The store's copy is the store itself; the escrow's key lies beside it."""
    key, folder = pyrage.x25519.Identity.generate(), stack.folder.parent
    (folder / "escrow-key").write_text(str(key))
    drills = {"escrow": f"{folder}/escrow", "escrow_identity": f"file:{folder}/escrow-key"}
    copied = {"type": "directory", "folder": "${SHOP_BACKUPS}"}
    file = str(apply_environment(stack, ENVIRONMENT, drills=drills, region_copy=copied))
    stack.run("escrow", "make", file, "--for", str(key.to_public()), "--output", f"{folder}/escrow")


def check_out(on: Bench) -> None:
    on.checkout.mkdir()
    git = ["git", "-C", str(on.stack.layout.repository), "archive", FIRST_VERSION]
    files = subprocess.run(git, check=True, capture_output=True, timeout=WITHIN).stdout
    subprocess.run(["tar", "-x", "-C", str(on.checkout)], input=files, check=True, timeout=WITHIN)


def recover_by_hand(on: Bench, server: str) -> Cost:
    """createdb, download, gunzip, psql, start, curl. What throws it away again does not count."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    variables = application_variables(on, database_url(server, "restored"), port)
    cpu, began = cpu_seconds(on), time.monotonic()
    shell(on, RESTORE, server)
    with process(["python", "-m", "shop"], on.checkout, variables):
        shell(on, UNTIL_HEALTHY, server, URL=url)
        cost = Cost(time.monotonic() - began, cpu_seconds(on) - cpu)
    with psycopg.connect(server, autocommit=True, connect_timeout=5) as connection:
        connection.execute("DROP DATABASE restored WITH (FORCE)")
    return cost


def shell(on: Bench, script: str, url: str, **variables: str) -> None:
    """As somebody would type it, the programs' folder being on PATH."""
    with libpq_environment(url, "bench") as environment:
        environment |= {"PATH": f"{find_programs()}:{WORKERS_PATH}", **variables}
        environment |= {"STORED": str(on.stack.folder / "backups" / "dump.sql.gz"), "FILE": str(on.checkout) + ".gz"}
        command = ["bash", "-o", "pipefail", "-euc", script]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=MOST_SECONDS)


def application_variables(on: Bench, database: str, port: int) -> dict[str, str]:
    own = on.stack.layout.credentials.staging
    return {
        "PATH": WORKERS_PATH,
        "PORT": str(port),
        "DATABASE_URL": database,
        "REDIS_URL": on.stack.layout.redis_url("staging"),
        "SHOP_SESSION_SECRET": own.session_secret,
        "SHOP_WEBHOOK_SECRET": own.webhook_secret,
        "SHOP_DEMO_PASSWORD": own.demo_password,
    }


def hold(stack: RunningStack, scenario: str) -> Held:
    """From the command to its return."""
    cpu, before, began = read_cpu_seconds(stack), os.times(), time.monotonic()
    with stack.begin("run", "dr-drill", ENVIRONMENT, "-p", f"scenario={scenario}", "--wait", "--json") as process:
        output, _ = process.communicate(timeout=MOST_SECONDS)
    seconds = time.monotonic() - began
    assert process.returncode == 0, output
    spent = read_cpu_seconds(stack) - cpu + _of_children(os.times()) - _of_children(before)
    run = json.loads(output.splitlines()[-1])["run"]
    report = json.loads((stack.folder / "evidence" / "reports" / ENVIRONMENT / f"{run}.json").read_text())["drill"]
    phases = {phase["name"]: phase["seconds"] for phase in report["phases"]}
    return Held(Cost(seconds, spent), phases, report["rto"]["measured_seconds"])


def cpu_seconds(on: Bench) -> float:
    """Of what the script starts, and of both servers."""
    total = read_cpu_seconds(on.stack) + _of_children(os.times())
    for child in psutil.Process().children(recursive=True):
        times = child.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total


def show_costs(console: Console, scripts: dict[str, list[Cost]], drills: dict[str, list[Held]]) -> None:
    table = Table("", "seconds", "CPU seconds", "until verified", title="From the command to the verdict")
    for name, costs in scripts.items():
        table.add_row(name, spread([cost.seconds for cost in costs]), spread([cost.cpu_seconds for cost in costs]), "")
    for scenario, held in drills.items():
        seconds, cpu = [one.cost.seconds for one in held], [one.cost.cpu_seconds for one in held]
        table.add_row(f"dr-drill, {scenario}", spread(seconds), spread(cpu), spread([one.recovered for one in held]))
    drill = median(one.cost.seconds for one in drills[RECOVERY_TEST])
    for name, costs in scripts.items():
        ratio = median(cost.seconds for cost in costs) / drill
        table.add_row(f"{name}: so many times the {RECOVERY_TEST}", f"{ratio:.2f}", "", "")
    table.caption = f"Scripts and {RECOVERY_TEST}: medians of {ROUNDS}, in turns (lowest–highest); the others once."
    console.print(table)


def show_phases(console: Console, scenario: str, held: list[Held]) -> None:
    table = Table("phase", "seconds", title=scenario)
    for phase in held[0].phases:
        table.add_row(phase, f"{median(one.phases[phase] for one in held):.2f}")
    rest = median(one.cost.seconds - sum(one.phases.values()) for one in held)
    table.add_row("all else: start the run, choose, keep the evidence, end", f"{rest:.2f}")
    console.print(table)


def spread(values: list[float]) -> str:
    return f"{median(values):.1f} ({min(values):.1f}–{max(values):.1f})"


def database_url(server: str, name: str) -> str:
    return f"{server.rpartition('/')[0]}/{name}"


def database_megabytes(on: Bench) -> int:
    with psycopg.connect(database_url(on.servers[DURABLE], DATABASE), connect_timeout=5) as connection:
        size = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    return round(size[0] / 1e6) if size else 0


def loads() -> str:
    return " ".join(f"{load:.1f}" for load in os.getloadavg())


def _of_children(times: os.times_result) -> float:
    return times.children_user + times.children_system


if __name__ == "__main__":
    main()
