"""Look at the objectives of every environment, and start the backups and proofs that are due.

for each environment: catalogue → due? → start back-up-database or verify-backup, unless one is under way
"""

from datetime import UTC, datetime

from prefect import flow
from prefect.artifacts import create_table_artifact

from tasks.due_runs import load_environments_with_backups, start_what_is_due


@flow(name="backups-due", flow_run_name="look which backups are due")
def backups_due() -> str:
    """Start a backup where the newest is about to be older than the RPO allows, and a proof where one is due."""
    rows = [start_what_is_due(environment, datetime.now(UTC)) for environment in load_environments_with_backups()]
    create_table_artifact(rows, key="objectives", description="Backups and proofs, by the objectives")
    started = [row["environment"] for row in rows if row["started"]]
    return f"Of {len(rows)} environments with backups, something was started in {len(started)}."
