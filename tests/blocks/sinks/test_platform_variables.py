"""The platform's variables as a sink."""

from collections.abc import Iterator

import pytest

from blocks.sinks.platform_variables import PlatformVariables
from tests.blocks.platforms.daemon import Daemon
from tests.blocks.sinks.contract import SinkContract, Subject

pytestmark = pytest.mark.timeout(30)


class TestContract(SinkContract):
    @pytest.fixture
    def subject(self, daemon: Daemon) -> Iterator[Subject]:
        yield Subject(PlatformVariables(type="platform"), daemon.platform)
        daemon.platform.set_variables({})
