"""The sample service where production does not run: on another platform, in an environment of its own."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import yaml

from blocks.platforms.interface import Platform, Release
from tests.blocks.platforms.waiting import eventually
from tests.flows.environments import PRODUCTION, QUICK, Parts
from tests.flows.production import START_SECONDS, Production

BACKED_UP: Parts = {part: yaml.safe_load(PRODUCTION.read_text())[part] for part in ("store", "backups")}
KEEN: Parts = {
    "limits": {**QUICK["limits"], "minimum_samples": 30},
    "rollout": {**QUICK["rollout"], "step_seconds": 8, "window_seconds": 40},
}


@dataclass(frozen=True)
class Elsewhere(ABC):
    environment: ClassVar[str]
    production: Production
    """Whose repository and database it shares."""
    platform: Platform
    folder: Path

    @abstractmethod
    def run_alone(self, version: str) -> None:
        """With all traffic, and the platform knows no other release."""

    def start(self, version: str) -> Release:
        """Another one, running; without traffic, where the platform can."""
        release = self.platform.start_release(version, self.production.commit(version), f"by hand {uuid4()}")
        eventually(lambda: self.read(release.id).state != "starting", START_SECONDS)
        assert self.read(release.id).state == "running", self.read(release.id).detail
        return self.read(release.id)

    def read(self, release: str) -> Release:
        return next(one for one in self.platform.read_releases() if one.id == release)

    def running(self) -> set[str]:
        return {one.id for one in self.platform.read_releases() if one.state in ("starting", "running")}

    def versions_with_traffic(self) -> set[str]:
        return {self.read(release).version for release in self.platform.read_traffic()}

    @property
    def url(self) -> str:
        """Where users reach it."""
        return self.production.stack.layout.front_url("production")

    def apply_keen(self) -> str:
        """Another one that watches for long enough to find a release bad that some visitors meet errors of."""
        name = f"{self.environment}-keen"
        self.apply(self.platform, name, **KEEN)
        return name

    def apply(self, platform: Platform, name: str = "", **parts: Any) -> None:
        """Production's environment, with shorter windows, its platform reached like that, and with these parts.

        Without a store, unless the parts have one. Whoever gives it one takes it away in the end: `backups-due` starts
        runs for whatever has one.
        """
        fields = platform.model_dump(mode="json", include=set(type(platform).model_fields))
        content = {**yaml.safe_load(PRODUCTION.read_text()), "environment": name or self.environment}
        del content["approvals"]
        del content["store"], content["backups"]
        content["platform"] = {"type": fields.pop("vendor"), **fields}
        content["service"]["url"] = self.url
        content["rollout"] |= QUICK["rollout"]
        content |= parts
        path = self.folder / f"{content['environment']}.yaml"
        path.write_text(yaml.safe_dump(content))
        self.production.stack.run("apply", str(path))
