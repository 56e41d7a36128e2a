"""The ledger's tables, every deployment, and the sample service's environments, in a stack that is up."""

import os
from collections.abc import Sequence
from pathlib import Path

from deployments.stack.layout import Layout
from deployments.stack.surroundings import describe_surroundings


def prepare_procedures(layout: Layout, files: Sequence[Path] = ()) -> None:
    """With the environments of `files`, too. Repeating it changes nothing."""
    if layout.sample:
        layout.state.subfolder("backups")
    os.environ.update(describe_surroundings(layout))
    # Importing Prefect takes a second: only here, and not in an `up` that has nothing to do.
    from blocks.ledger.connection import migrate_ledger
    from deployments.apply import ROOT, apply

    migrate_ledger()
    sample = sorted((ROOT / "deployments" / "environments").glob("*.yaml")) if layout.sample else []
    apply([*sample, *files], check=False)
