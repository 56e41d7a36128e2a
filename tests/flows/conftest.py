from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from tests.flows.interface import Interface
from tests.flows.production import Production
from tests.prefect_server import prefect_api
from tests.running_stack import RunningStack


@pytest.fixture(scope="module")
def api(shared_stack: RunningStack) -> Iterator[httpx.Client]:
    """Prefect's."""
    with prefect_api(shared_stack) as api:
        yield api


@pytest.fixture
def interface(stack: RunningStack) -> Iterator[Interface]:
    with closing(Interface(stack)) as interface:
        yield interface


@pytest.fixture
def own_tags(production: Production) -> Iterator[None]:
    """Tags that the test's deploys leave behind are deleted."""
    before = production.tags()
    yield
    for tag in production.tags().keys() - before:
        production.git("tag", "--delete", tag)
