"""The sample service as Railway would run it, by a stand-in for Railway before production's platform."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from blocks.platforms.railway import RailwayPlatform
from deployments.stack.state import write_private
from tests.blocks.platforms.waiting import eventually
from tests.flows.elsewhere import Elsewhere
from tests.flows.production import START_SECONDS, Production
from tests.standins.railway import ENVIRONMENT as RAILWAY_ENVIRONMENT
from tests.standins.railway import PROJECT, SERVICE, TOKEN, RailwayStandIn, running_railway

ENVIRONMENT = "shop-railed"


@dataclass(frozen=True)
class Railed(Elsewhere):
    environment = ENVIRONMENT
    platform: RailwayPlatform
    railway: RailwayStandIn

    def run_alone(self, version: str) -> None:
        if self.versions_with_traffic() != {version}:
            self.start(version)
        eventually(lambda: self.versions_with_traffic() == {version}, START_SECONDS)
        self.railway.forget_deployments(spare_live=True)


@contextmanager
def railed_shop(production: Production, version: str, folder: Path) -> Iterator[Railed]:
    """The version has all traffic, of production's visitors. In the end all calls were as Railway describes them."""
    token = folder / "token"
    write_private(token, TOKEN)

    def version_of(commit: str) -> str:
        return next((tag for tag, there in production.tags().items() if there == commit), "")

    with running_railway(production.platform, version_of) as railway:
        platform = RailwayPlatform(
            project=PROJECT,
            railway_environment=RAILWAY_ENVIRONMENT,
            service=SERVICE,
            token=f"file:{token}",
            url=railway.url,
            timeout=30,
        )
        platform.set_variables(production.platform.read_variables())
        railed = Railed(production, platform, folder, railway)
        railed.run_alone(version)
        yield railed
    assert railway.violations == []
