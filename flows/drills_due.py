"""Look at every environment that is drilled, and start a drill where the last good one is about to be too old.

for each environment with a part `drills`: newest drill that kept its objectives → due? → start dr-drill
"""

from datetime import UTC, datetime

from prefect import flow
from prefect.artifacts import create_table_artifact

from tasks.drills_due import load_environments_with_drills, start_drill_if_due


@flow(name="drills-due", flow_run_name="look which drills are due")
def drills_due() -> str:
    """Start a drill where the newest good one would be older than `max_age_days` before the next look."""
    rows = [start_drill_if_due(environment, datetime.now(UTC)) for environment in load_environments_with_drills()]
    create_table_artifact(rows, key="drills", description="Drills, by the objectives")
    started = [row["environment"] for row in rows if row["started"]]
    return f"Of {len(rows)} environments with drills, one was started in {len(started)}."
