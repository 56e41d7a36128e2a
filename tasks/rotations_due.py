"""Which secrets are about to be too old, by their own limits; rotate them unless a rotation goes on or waits."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from blocks.environment import Environment
from blocks.errors import BackstopError
from blocks.ledger.connection import Connection, connect
from blocks.rotation import Rotation
from tasks.due_runs import load_environments, start
from tasks.secret_age import read_ages, read_previous

LOOK = timedelta(days=1)
"""How often somebody looks."""
REQUESTED_BY = "rotations-due"


def load_environments_with_secrets() -> list[Environment]:
    """Every environment that names secrets to rotate."""
    return [found for found in load_environments() if found.secrets and found.secrets.rotated]


# Repeating is safe: who finds a rotation that is not over starts none.
@task(name="Look which secrets are due", task_run_name="look at {environment.environment}", cache_policy=NO_CACHE)
def start_rotation_if_due(environment: Environment) -> dict[str, str]:
    """One row for people: the environment, what was started, and why."""
    name, policy = environment.environment, environment.secrets or Rotation()
    try:
        with connect(REQUESTED_BY) as connection:
            due = find_due(policy, read_ages(connection, name))
            over = {} if due else find_over(policy, read_previous(connection, name), datetime.now(UTC))
            started = bool(due or over) and not goes_on(connection, name)
        if started:
            start(
                "rotate-secrets",
                environment=name,
                secrets=",".join(due or over),
                retire_previous=bool(over),
                requested_by=REQUESTED_BY,
            )
    except BackstopError as error:
        get_run_logger().error("%s: %s", name, error)
        return {"environment": name, "started": "", "why": error.message}
    return {
        "environment": name,
        "started": "rotate-secrets" if started else "",
        "why": " ".join((due or over).values()),
    }


def find_due(policy: Rotation, ages: dict[str, timedelta]) -> dict[str, str]:
    """Secret → why it has to be rotated before somebody looks again. One that somebody gives is left to them."""

    def look() -> Iterator[tuple[str, str]]:
        for name, secret in policy.rotated.items():
            if secret.is_given:
                continue
            age, allowed = ages.get(name), timedelta(days=secret.max_age_days)
            if age is None:
                yield name, f"{name} was never rotated."
            elif age + min(LOOK, allowed / 4) >= allowed:
                yield name, f"{name} is {age / timedelta(days=1):.1f} days old; {secret.max_age_days:g} are allowed."

    return dict(look())


def find_over(policy: Rotation, previous: dict[str, datetime], now: datetime) -> dict[str, str]:
    """Secret → why the one of before its rotation is to be retired."""
    return {
        name: f"The previous {name} is needed no more since {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC."
        for name, until in previous.items()
        if name in policy.rotated and not policy.rotated[name].is_retired_by_people and until <= now
    }


def goes_on(connection: Connection, environment: str) -> bool:
    """Whether a rotation of the environment is under way, or waits for an approval."""
    found = connection.execute(
        "SELECT FROM run WHERE procedure = 'rotate-secrets' AND environment = %s AND ending IS NULL", [environment]
    ).fetchone()
    return found is not None
