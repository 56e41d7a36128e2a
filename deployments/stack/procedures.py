"""The ledger's tables, the environments of the sample service and every deployment, in a stack that is up."""

import os

from deployments.stack.layout import Layout
from deployments.stack.surroundings import describe_surroundings


def prepare_procedures(layout: Layout) -> None:
    """Repeating it changes nothing."""
    os.environ.update(describe_surroundings(layout))
    # Importing Prefect takes a second: only here, and not in an `up` that has nothing to do.
    from prefect.context import SyncClientContext

    from blocks.ledger.connection import migrate_ledger
    from deployments.apply import ROOT, apply_deployments, apply_environment

    migrate_ledger()
    # One client for all calls: making one takes longer than a call.
    with SyncClientContext.get_or_create():
        for path in sorted((ROOT / "deployments" / "environments").glob("*.yaml")):
            apply_environment(path, check=False)
        apply_deployments(check=False)
