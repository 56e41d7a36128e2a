"""The sample service as Vercel would run it, by a stand-in for Vercel before production's platform."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from blocks.platforms.vercel import VercelPlatform
from deployments.stack.state import write_private
from tests.flows.elsewhere import Elsewhere
from tests.flows.production import Production
from tests.standins.description import described
from tests.standins.vercel import NAME, REPOSITORY, TEAM, TOKEN, VercelStandIn, running_vercel
from tests.standins.vercel_rolling_release import with_what_leads_it_on

ENVIRONMENT = "shop-hosted"


@dataclass(frozen=True)
class Hosted(Elsewhere):
    environment = ENVIRONMENT
    platform: VercelPlatform
    vercel: VercelStandIn

    @contextmanager
    def in_stages(self, stages: list[int]) -> Iterator["Hosted"]:
        """Meanwhile the project has rolling releases of these."""
        self.vercel.stages = stages
        try:
            yield replace(self, platform=self.platform.model_copy(update={"rolling": True}))
        finally:
            self.vercel.stages = []

    def run_alone(self, version: str) -> None:
        running = [one for one in self.platform.read_releases() if one.version == version and one.state == "running"]
        release = running[0] if running else self.start(version)
        self.platform.shift_traffic({release.id: 100})
        self.vercel.forget_deployments(spare=release.id)


@contextmanager
def hosted_shop(production: Production, version: str, folder: Path) -> Iterator[Hosted]:
    """The version has all traffic, of production's visitors. In the end all calls were as Vercel describes them."""
    token = folder / "token"
    write_private(token, TOKEN)
    with running_vercel(production.platform, described("vercel", with_what_leads_it_on)) as vercel:
        platform = VercelPlatform(
            project=NAME, team=TEAM, repository=REPOSITORY, token=f"file:{token}", url=vercel.url, timeout=10
        )
        platform.set_variables(production.platform.read_variables())
        hosted = Hosted(production, platform, folder, vercel)
        hosted.run_alone(version)
        yield hosted
    assert vercel.violations == []
