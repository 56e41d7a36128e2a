"""Which Prefect and which ledger the command line talks to: those of the environment, else the embedded stack's."""

import os

from deployments.stack.state import State
from deployments.stack.surroundings import worker_environment


def use_stack_if_none() -> None:
    """Without PREFECT_API_URL in the environment, everything points to the embedded stack.

    Raises Refused when that was never started.
    """
    if "PREFECT_API_URL" not in os.environ:
        os.environ.update(worker_environment(State.of_surroundings()))
