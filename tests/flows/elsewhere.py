"""The sample service where production does not run: on another platform, in an environment of its own."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import yaml

from blocks.platforms.interface import Platform, Release
from tests.blocks.platforms.waiting import eventually
from tests.flows.environments import PRODUCTION, QUICK, Parts
from tests.flows.production import START_SECONDS, Production


@dataclass(frozen=True)
class Elsewhere(ABC):
    production: Production
    """Whose repository and database it shares."""
    platform: Platform
    folder: Path

    @abstractmethod
    def run_alone(self, version: str) -> None:
        """With all traffic, and the platform knows no other release."""

    def start(self, version: str) -> Release:
        """Running, without traffic."""
        release = self.platform.start_release(version, self.production.commit(version), "")
        eventually(lambda: self.read(release.id).state != "starting", START_SECONDS)
        assert self.read(release.id).state == "running", self.read(release.id).detail
        return self.read(release.id)

    def read(self, release: str) -> Release:
        return next(one for one in self.platform.read_releases() if one.id == release)

    def running(self) -> set[str]:
        return {one.id for one in self.platform.read_releases() if one.state in ("starting", "running")}

    def versions_with_traffic(self) -> set[str]:
        return {self.read(release).version for release in self.platform.read_traffic()}

    def apply_environment(self, name: str, platform: Parts, url: str) -> None:
        """Production's, with shorter windows, on that platform; users reach it at that address."""
        content = {**yaml.safe_load(PRODUCTION.read_text()), "environment": name, "platform": platform}
        del content["approvals"]
        content["service"]["url"] = url
        content["rollout"] |= QUICK["rollout"]
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content))
        self.production.stack.run("apply", str(path))
