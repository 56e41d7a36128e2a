"""Start what is due, unless it is under way."""

from datetime import datetime
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.deployments import run_deployment

from blocks.environment import Environment, load_environment, read_applied
from blocks.errors import BackstopError
from blocks.ledger.connection import connect
from blocks.ledger.fence import read_holder
from tasks.catalogue import read_catalogue
from tasks.due import Due, look_what_is_due

REQUESTED_BY = "backups-due"


def load_environments() -> list[Environment]:
    """Every environment. One that cannot be loaded keeps nobody from the others."""
    with get_client(sync_client=True) as client:
        applied = read_applied(client)
    return [found for name in applied if (found := _load(name))]


def _load(name: str) -> Environment | None:
    try:
        return load_environment(name)
    except (BackstopError, ValueError) as error:
        get_run_logger().error("%s cannot be loaded: %s", name, error)
        return None


def load_environments_with_backups() -> list[Environment]:
    """Every environment that has a store and a database."""
    return [found for found in load_environments() if found.store and found.database]


# Repeating is safe: who finds a backup under way starts none.
@task(name="Look what is due", task_run_name="look at {environment.environment}", cache_policy=NO_CACHE)
def start_what_is_due(environment: Environment, now: datetime) -> dict[str, str]:
    """One row for people: the environment, what was started and why, and the objectives that are broken."""
    name = environment.environment
    try:
        due = look_what_is_due(read_catalogue(environment), environment.backups, now)
        started = [*_start_backup(name, due), *_start_proof(name, due)]
    except BackstopError as error:
        get_run_logger().error("%s: %s", name, error)
        return {"environment": name, "started": "", "why": "", "broken": error.message}
    for line in due.broken:
        get_run_logger().warning("%s: %s", name, line)
    return {
        "environment": name,
        "started": ", ".join(started),
        "why": " ".join(due.reasons),
        "broken": " ".join(due.broken),
    }


def _start_backup(name: str, due: Due) -> list[str]:
    if not due.backup or is_held(f"{name}/backups"):
        return []
    start("back-up-database", environment=name, requested_by=REQUESTED_BY)
    return ["back-up-database"]


def _start_proof(name: str, due: Due) -> list[str]:
    if not due.proof or is_held(f"{name}/proofs"):
        return []
    start("verify-backup", environment=name, backup=due.proof, requested_by=REQUESTED_BY)
    return ["verify-backup"]


def start(procedure: str, **parameters: Any) -> None:
    """A run of its own, which nobody waits for."""
    run_deployment(f"{procedure}/{procedure}", parameters=parameters, timeout=0, as_subflow=False)


def is_held(name: str) -> bool:
    """Whether a run holds that environment, or that aspect of one, as `shop-production/backups`."""
    with connect(REQUESTED_BY) as connection:
        return read_holder(connection, name) is not None
