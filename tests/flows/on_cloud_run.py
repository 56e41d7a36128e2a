"""The sample service as Cloud Run would run it, by a stand-in for Cloud Run before production's platform."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from blocks.platforms.cloud_run import CloudRunPlatform
from deployments.stack.state import write_private
from tests.flows.elsewhere import Elsewhere
from tests.flows.production import Production
from tests.standins.cloud_run import IMAGE, NAME, PROJECT, REGION, CloudRunStandIn, running_cloud_run
from tests.standins.google_token import running_google_tokens

ENVIRONMENT = "shop-on-cloud-run"
KEY = "google.json"
"""File with the service account's key, in the folder."""


@dataclass(frozen=True)
class OnCloudRun(Elsewhere):
    environment = ENVIRONMENT
    platform: CloudRunPlatform
    cloud_run: CloudRunStandIn

    def run_alone(self, version: str) -> None:
        running = [one for one in self.platform.read_releases() if one.version == version and one.state == "running"]
        release = running[0] if running else self.start(version)
        self.platform.shift_traffic({release.id: 100})
        self.cloud_run.forget_revisions(spare=release.id)


@contextmanager
def shop_on_cloud_run(production: Production, version: str, folder: Path) -> Iterator[OnCloudRun]:
    """The version has all traffic, of production's visitors. In the end all calls were as Google describes them."""
    key = folder / KEY
    with (
        running_google_tokens() as tokens,
        running_cloud_run(production.platform, tokens, production.tags()) as cloud_run,
    ):
        write_private(key, tokens.key())
        platform = CloudRunPlatform(
            project=PROJECT,
            region=REGION,
            service=NAME,
            image=IMAGE,
            credentials=f"file:{key}",
            url=cloud_run.url,
            logging_url=cloud_run.url,
            scale_to_zero=True,
            timeout=10,
        )
        platform.set_variables(production.platform.read_variables())
        shop = OnCloudRun(production, platform, folder, cloud_run)
        shop.run_alone(version)
        yield shop
        assert cloud_run.violations == []
