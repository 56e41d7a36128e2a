"""Look at every environment whose secrets are rotated, and rotate those that are about to be too old.

for each environment with a part `secrets`: ages by the audit trail → due? → start rotate-secrets
"""

from prefect import flow
from prefect.artifacts import create_table_artifact

from tasks.rotations_due import load_environments_with_secrets, start_rotation_if_due


@flow(name="rotations-due", flow_run_name="look which secrets are due")
def rotations_due() -> str:
    """Start a rotation of every secret that would be older than its `max_age_days` before the next look."""
    rows = [start_rotation_if_due(environment) for environment in load_environments_with_secrets()]
    create_table_artifact(rows, key="secrets", description="Secrets, by their ages")
    started = [row["environment"] for row in rows if row["started"]]
    return f"Of {len(rows)} environments with secrets, a rotation was started in {len(started)}."
