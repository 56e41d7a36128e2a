from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from deployments.stack.state import write_private
from tests.flows.environments import write_environments
from tests.flows.interface import Interface
from tests.flows.people import People
from tests.flows.production import Production
from tests.flows.records import Records
from tests.running_stack import RunningStack


@pytest.fixture(scope="session")
def environments(shared_stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environments of these tests are applied; their folder, for what they refer to."""
    folder = tmp_path_factory.mktemp("environments")
    shared_stack.run("up")
    credentials = shared_stack.layout.credentials.production
    for name in ("token", "changing-token"):
        write_private(folder / name, credentials.sandbox_token)
    write_private(folder / "wrong-secret", "not-the-provider's")
    shared_stack.run("apply", *map(str, write_environments(folder)))
    return folder


@pytest.fixture(scope="session")
def shared_production(shared_stack: RunningStack, environments: Path) -> Production:
    return Production(shared_stack, environments / "token")


@pytest.fixture
def production(stack: RunningStack, shared_production: Production) -> Production:
    """With all traffic on the good release, nothing else running."""
    shared_production.reset()
    return shared_production


@pytest.fixture
def records(stack: RunningStack) -> Records:
    return Records(stack)


@pytest.fixture
def people(stack: RunningStack) -> People:
    return People(stack)


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
