from collections.abc import Iterator

import pytest

from tests.running_stack import RunningStack


@pytest.fixture(scope="session")
def shared_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Brought up once; whatever a test breaks, it mends."""
    stack = RunningStack(tmp_path_factory.mktemp("stack") / "state")
    try:
        stack.run("up")
        yield stack
    finally:
        stack.run("down", "--purge")


@pytest.fixture
def stack(shared_stack: RunningStack) -> RunningStack:
    shared_stack.run("up")
    return shared_stack
