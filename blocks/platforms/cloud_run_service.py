"""What Cloud Run says of a service and its revisions (Admin API v2), and how their fields are read.

It leaves out what has its default: no `percent` is 0, no `value` is empty, no `done` is false.
"""

import hashlib
import json
from collections.abc import Container as Holding
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from blocks.platforms.interface import Split

VERSION, COMMIT, RUN, VARIABLES = "backstop.version", "backstop.commit", "backstop.run", "backstop.variables"
"""Annotations: of a revision, and the last one of the service. A label allows too few characters."""
MAINTENANCE = "backstop.maintenance"
"""Annotation of the service while it is in maintenance: a Maintenance as JSON."""
DISABLED = {"scalingMode": "MANUAL", "manualInstanceCount": 0}
"""A service's scaling with which no revision that has traffic has an instance."""
_BUILT_OF = "commit-sha"
"""The label that Google's own deployments from a repository set."""
_STATES: dict[str, Literal["running", "failed"]] = {"CONDITION_SUCCEEDED": "running", "CONDITION_FAILED": "failed"}
"""All others are on their way."""


class Condition(BaseModel):
    type: str = ""
    state: str = ""
    message: str = ""


class Target(BaseModel):
    """Of `traffic`, what is asked for, or of `trafficStatuses`, what is in force."""

    type: str = "TRAFFIC_TARGET_ALLOCATION_TYPE_UNSPECIFIED"
    revision: str = ""
    percent: int = 0
    tag: str = ""
    uri: str = ""

    @property
    def follows_latest(self) -> bool:
        return self.type == "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"

    def asked(self) -> dict[str, Any]:
        return self.model_dump(exclude={"uri"}, exclude_defaults=True)


def pinned(revision: str, percent: int = 0, tag: str = "") -> Target:
    return Target(type="TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", revision=revision, percent=percent, tag=tag)


class Maintenance(BaseModel):
    by: str = ""
    """For whom; empty where it is in service."""
    scaling: dict[str, Any]
    """Of before."""


class Operation(BaseModel):
    name: str
    done: bool = False
    error: dict[str, Any] | None = None


class Service(BaseModel):
    etag: str
    template: dict[str, Any]
    annotations: dict[str, str] = {}
    traffic: list[Target] = []
    trafficStatuses: list[Target] = []
    scaling: dict[str, Any] = {}
    latestReadyRevision: str = ""
    """Its full name."""
    reconciling: bool = False
    terminalCondition: Condition = Condition()

    @property
    def latest(self) -> str:
        return _last(self.latestReadyRevision)

    @property
    def split(self) -> Split:
        """In force; what goes to the latest revision is that revision's."""
        split: Split = {}
        for one in self.trafficStatuses:
            revision = self.latest if one.follows_latest else one.revision
            if one.percent and revision:
                split[revision] = split.get(revision, 0) + one.percent
        return split

    @property
    def is_disabled(self) -> bool:
        return scaling_of(self.scaling) == scaling_of(DISABLED)

    @property
    def maintenance(self) -> Maintenance:
        if self.is_disabled and MAINTENANCE in self.annotations:
            return Maintenance.model_validate_json(self.annotations[MAINTENANCE])
        return Maintenance(scaling=self.scaling)

    @property
    def in_force(self) -> list[Target]:
        """Its traffic by names of revisions."""
        return self._by_name(self.trafficStatuses)

    def pins(self) -> list[Target]:
        """Its traffic by names of revisions: in force, or as it is about to be while Cloud Run is still at it.

        A list that is empty would give everything to the latest revision.
        """
        return self._by_name(self.traffic or [Target(percent=100)]) if self.reconciling else self.in_force

    def _by_name(self, targets: list[Target]) -> list[Target]:
        return [
            pinned(self.latest if one.follows_latest or not one.revision else one.revision, one.percent, one.tag)
            for one in targets
        ]

    def address(self, revision: str) -> str | None:
        """That reaches this revision alone, over a tag."""
        return next((one.uri for one in self.trafficStatuses if one.revision == revision and one.tag and one.uri), None)

    def has_no_instance_of(self, revision: str) -> bool:
        """In maintenance only what has no traffic is started by a request to its own address."""
        return self.is_disabled and revision in self.split

    def awaits_address(self, revision: str) -> bool:
        """It was given a tag, which leads nowhere yet."""
        return self.address(revision) is None and any(one.revision == revision and one.tag for one in self.traffic)

    @property
    def container(self) -> dict[str, Any]:
        """The one that requests reach."""
        containers: list[dict[str, Any]] = self.template["containers"]
        return next((one for one in containers if one.get("ports")), containers[0])

    def read_variables(self) -> dict[str, str]:
        """Those that wait for the next start, or else the template's; without those from Secret Manager."""
        if VARIABLES in self.annotations:
            return {str(name): str(value) for name, value in json.loads(self.annotations[VARIABLES]).items()}
        env = self.container.get("env", [])
        return {one["name"]: one.get("value", "") for one in env if "valueSource" not in one}

    @property
    def secret_variables(self) -> list[dict[str, Any]]:
        return [one for one in self.container.get("env", []) if "valueSource" in one]


class Revision(BaseModel):
    name: str
    createTime: datetime
    annotations: dict[str, str] = {}
    labels: dict[str, str] = {}
    containers: list[dict[str, Any]] = []
    conditions: list[Condition] = []
    deleteTime: datetime | None = None

    @property
    def id(self) -> str:
        return _last(self.name)

    @property
    def ready(self) -> Condition:
        return next((one for one in self.conditions if one.type == "Ready"), Condition())

    @property
    def state(self) -> Literal["starting", "running", "failed"]:
        return _STATES.get(self.ready.state, "starting")

    @property
    def own_annotations(self) -> dict[str, str]:
        """Empty where somebody else made the revision."""
        return self.annotations if is_own(self.id, self.annotations) else {}

    @property
    def version(self) -> str:
        image = str(self.containers[0].get("image", "")) if self.containers else ""
        return self.own_annotations.get(VERSION) or _last(image).partition("@")[0].partition(":")[2]

    @property
    def commit(self) -> str:
        return self.own_annotations.get(COMMIT) or self.labels.get(_BUILT_OF, "")


def digest_of(version: str, commit: str, run_id: str) -> str:
    """What the names of a revision and its tag end with: asked for again, it is found by them."""
    return hashlib.sha256(f"{run_id}\n{version}\n{commit}".encode()).hexdigest()[:10]


def scaling_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """Without what has its default, however that is written."""
    defaults = (0, "AUTOMATIC", "SCALING_MODE_UNSPECIFIED")
    return {name: value for name, value in said.items() if value not in defaults}


def is_own(revision: str, annotations: Mapping[str, str]) -> bool:
    """Whoever changes the service by other means takes the annotations of its template along."""
    said = [annotations.get(name, "") for name in (VERSION, COMMIT, RUN)]
    return bool(said[0]) and revision.endswith(f"-b-{digest_of(*said)}")


def without_failed(targets: Iterable[Target], failed: Holding[str]) -> list[Target]:
    """One that failed and has a tag would keep Cloud Run from changing anything else of the traffic."""
    return [one for one in targets if one.percent or one.revision not in failed]


def _last(name: str) -> str:
    return name.rpartition("/")[2]
