"""What the last restore switched, as the audit trail tells it."""

from blocks.environment import Environment
from blocks.errors import Refused
from tasks.ledger import current_run
from tasks.restore import NamesBefore


def find_last_switch(environment: Environment) -> NamesBefore:
    """Raises Refused where no restore ever switched the databases of this environment."""
    row = (
        current_run()
        .connection.execute(
            "SELECT detail FROM audit WHERE environment = %s AND event = 'effect done'"
            " AND detail->>'effect' = 'switch databases' ORDER BY sequence DESC LIMIT 1",
            [environment.environment],
        )
        .fetchone()
    )
    if row is None:
        raise Refused(f"No restore has switched the databases of {environment.environment}.")
    return NamesBefore.model_validate(row["detail"])
