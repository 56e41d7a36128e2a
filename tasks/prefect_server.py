"""Prefect's server, which a run can do without once it has begun: its truth is in the ledger."""

from prefect.settings import PREFECT_API_URL

from blocks.bounded_get import bounded_get
from blocks.errors import Unreachable

SECONDS = 3.0
_MOST_BYTES = 10_000


def prefect_answers() -> bool:
    """Whether it answers just now. Prefect's own client would try for a minute to find that out."""
    if not PREFECT_API_URL.value():
        return True  # one in this process
    try:
        return bounded_get(f"{PREFECT_API_URL.value().rstrip('/')}/health", SECONDS, _MOST_BYTES).status == 200
    except Unreachable:
        return False
