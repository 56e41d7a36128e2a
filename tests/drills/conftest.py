import pytest

from tests.flows.records import Records
from tests.running_stack import RunningStack


@pytest.fixture
def records(stack: RunningStack) -> Records:
    return Records(stack)
