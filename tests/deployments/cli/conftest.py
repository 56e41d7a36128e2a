from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployments.cli.offline import Offline
from tests.running_stack import RunningStack


@pytest.fixture
def offline(stack: RunningStack, tmp_path: Path) -> Iterator[Offline]:
    """With a folder of its own; whatever it started is ended."""
    offline = Offline(stack, tmp_path / "journal")
    with offline.stack.taken_down_afterwards():
        yield offline
