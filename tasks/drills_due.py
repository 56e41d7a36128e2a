"""Whether a drill is due, by the environment's own limit; start it unless one is under way."""

from datetime import UTC, datetime, timedelta

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from blocks.drills import Drills
from blocks.environment import Environment
from blocks.errors import BackstopError
from blocks.ledger.connection import Connection, connect
from tasks.drill_evidence import ENDED
from tasks.drill_report import in_words
from tasks.due_runs import is_held, load_environments, start

LOOK = timedelta(days=1)
"""How often somebody looks."""
REQUESTED_BY = "drills-due"


def load_environments_with_drills() -> list[Environment]:
    """Every environment that has a part `drills`."""
    return [found for found in load_environments() if found.drills]


# Repeating is safe: who finds a drill under way starts none.
@task(name="Look whether a drill is due", task_run_name="look at {environment.environment}", cache_policy=NO_CACHE)
def start_drill_if_due(environment: Environment, now: datetime) -> dict[str, str]:
    """One row for people: the environment, what was started, and why."""
    name = environment.environment
    try:
        with connect(REQUESTED_BY) as connection:
            why = why_due(environment.drills or Drills(), read_last_kept(connection, name), now)
        started = bool(why) and not is_held(f"{name}/drills")
        if started:
            start("dr-drill", environment=name, requested_by=REQUESTED_BY)
    except BackstopError as error:
        get_run_logger().error("%s: %s", name, error)
        return {"environment": name, "started": "", "why": error.message}
    return {"environment": name, "started": "dr-drill" if started else "", "why": why}


def why_due(policy: Drills, last_kept: datetime | None, now: datetime) -> str:
    """Why a drill has to be held before somebody looks again; empty when none has."""
    if last_kept is None:
        return "No drill has kept its objectives yet."
    age, allowed = now - last_kept, timedelta(days=policy.max_age_days)
    if age + min(LOOK, allowed / 4) < allowed:
        return ""
    limit = in_words(allowed.total_seconds())
    return f"The newest drill that kept its objectives is {in_words(age.total_seconds())} old; {limit} are allowed."


def read_last_kept(connection: Connection, environment: str) -> datetime | None:
    """When a drill last kept all its objectives, by the trail."""
    row = connection.execute(
        "SELECT max(at::timestamptz) AS at FROM audit"
        " WHERE environment = %s AND event = %s AND detail->>'verdict' = 'kept'",
        [environment, ENDED],
    ).fetchone()
    found = row["at"] if row else None
    return found.astimezone(UTC) if isinstance(found, datetime) else None
