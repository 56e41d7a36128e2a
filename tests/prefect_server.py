"""The stack's Prefect server, talked to as any script may that knows the login."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from tests.running_stack import RunningStack

SECONDS = 20


@contextmanager
def prefect_api(stack: RunningStack) -> Iterator[httpx.Client]:
    user, _, password = stack.layout.credentials.prefect_login.partition(":")
    with httpx.Client(base_url=stack.layout.api_url, auth=(user, password), timeout=SECONDS, trust_env=False) as api:
        yield api


def environment_names(api: httpx.Client) -> set[str]:
    """Of all environments that were applied."""
    documents = api.get("/block_types/slug/environment/block_documents").raise_for_status().json()
    return {document["name"] for document in documents}


def count_runs(api: httpx.Client) -> int:
    return int(api.post("/flow_runs/count", json={}).raise_for_status().json())
