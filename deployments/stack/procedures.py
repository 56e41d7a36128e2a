"""The ledger's tables, the environments of the sample service and every deployment, in a stack that is up."""

import os

from deployments.stack.layout import Layout
from deployments.stack.surroundings import describe_surroundings


def prepare_procedures(layout: Layout) -> None:
    """Repeating it changes nothing."""
    layout.state.subfolder("backups")
    os.environ.update(describe_surroundings(layout))
    # Importing Prefect takes a second: only here, and not in an `up` that has nothing to do.
    from blocks.ledger.connection import migrate_ledger
    from deployments.apply import ROOT, apply

    migrate_ledger()
    apply(sorted((ROOT / "deployments" / "environments").glob("*.yaml")), check=False)
