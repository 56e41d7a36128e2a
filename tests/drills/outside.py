"""What a deploy to production talks to, with a proxy before each: the platform's control API and the front door."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.blocks.stores.faults import FaultProxy as RequestFaults
from tests.blocks.stores.faults import running_proxy
from tests.drills.fault_proxy import FaultProxy
from tests.running_stack import RunningStack


class Outside(NamedTuple):
    requests: RequestFaults
    """What goes wrong with single requests to the platform."""
    platform: FaultProxy
    """The connection to the platform as a whole."""
    front_door: FaultProxy

    @property
    def variables(self) -> dict[str, str]:
        """For a process that is to reach production through here."""
        return {
            "SHOP_PRODUCTION_SANDBOX_URL": f"http://127.0.0.1:{self.platform.port}",
            "SHOP_PRODUCTION_URL": f"http://127.0.0.1:{self.front_door.port}",
        }

    def mend(self) -> None:
        self.platform.mend()
        self.front_door.mend()
        self.requests.faults.clear()
        self.requests.requests.clear()


@contextmanager
def outside_of(stack: RunningStack) -> Iterator[Outside]:
    with (
        running_proxy(stack.layout.control_url("production")) as requests,
        FaultProxy(_port(requests.endpoint)) as platform,
        FaultProxy(_port(stack.layout.front_url("production"))) as front_door,
    ):
        yield Outside(requests, platform, front_door)


def _port(url: str) -> int:
    return urlsplit(url).port or 0
