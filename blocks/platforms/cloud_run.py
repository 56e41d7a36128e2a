"""Releases as revisions of a Cloud Run service. https://cloud.google.com/run/docs/reference/rest/v2

The service's traffic is always written down by names of revisions: an empty list, or `LATEST`, would give a new
revision everything. A revision gets a tag, and with it an address of its own. Cloud Run answers a change before it is
made, and one that is done may have failed; so whether it has been made is read, never concluded.
"""

import json
import re
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import Field

from blocks.errors import RefusedByPlatform, Unreachable
from blocks.google_access import GoogleAccess
from blocks.platforms.cloud_run_service import (
    COMMIT,
    DISABLED,
    MAINTENANCE,
    RUN,
    VARIABLES,
    VERSION,
    Operation,
    Revision,
    Service,
    Target,
    digest_of,
    is_own,
    pinned,
    scaling_of,
    without_failed,
)
from blocks.platforms.docker_images import REPOSITORY
from blocks.platforms.interface import Capability, Platform, Release, Split
from blocks.reference import Address, Secret
from blocks.vendor_api import VendorApi

Shape = TypeVar("Shape")

_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_REVISION = re.compile(r"[a-z][a-z0-9-]{0,62}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = {"PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"}
_OWN_TAG = re.compile(r"b-[0-9a-f]{10}")
_RESOURCES: dict[str, Any] = {"cpuIdle": True}
"""Where a template says nothing of them. As soon as it does, CPU between requests is paid for, unless it says this."""
_TAGS_KEPT = 3
"""Of one's own, without traffic: each may keep instances running, where its template asks for a minimum."""
_PAGE = "100"
_WAIT_SHARE = 0.8
_WRITTEN_BY = ("stdout", "stderr", "varlog/system")


class CloudRunPlatform(Platform):
    """A release is a revision; its annotations say which version, commit and run it is of."""

    _block_type_name = "Cloud Run platform"
    _block_type_slug = "cloud-run-platform"
    _description = "Releases as revisions of a Cloud Run service, which shifts traffic by percent."

    look_seconds: ClassVar[float] = 0.5

    vendor: Literal["cloud_run"] = Field(
        "cloud_run", description="Whose platform it is: a saved block is read again as what it was."
    )
    project: str = Field(pattern=r"^[a-z][a-z0-9.:-]{4,60}$", description="The project's id.")
    region: str = Field(pattern=r"^[a-z][a-z0-9-]{2,40}$", description="Where the service is, as europe-west1.")
    service: str = Field(pattern=r"^[a-z]([a-z0-9-]{0,47}[a-z0-9])?$", description="The service's name. It exists.")
    image: str = Field(pattern=REPOSITORY, description="Repository of its images. A version is a tag.")
    credentials: Secret = Field(description="Reference to the key (JSON) of a service account: ${NAME} or file:/PATH.")
    url: Address = Field("https://run.googleapis.com", description="Address of Cloud Run's API.")
    logging_url: Address = Field(
        "https://logging.googleapis.com", description="Address of Cloud Logging's API, which has the logs."
    )
    scale_to_zero: bool = Field(
        False, description="Keep visitors out while writes are stopped: the service has no instance then."
    )
    cpu: str | None = Field(
        None,
        pattern=r"^([1-9]|0\.[0-9]{1,2}|[1-9][0-9]{1,3}m)$",
        coerce_numbers_to_str=True,
        description="Of each instance of the next release, as 2 or 500m.",
    )
    memory: str | None = Field(
        None, pattern=r"^[1-9][0-9]{0,5}(Mi|Gi)$", description="Of each instance of the next release, as 4Gi."
    )
    max_instances: int | None = Field(None, ge=1, le=1000, description="Of the next release, at the most.")
    timeout: float = Field(30, gt=0, le=3600, description="Seconds that one call may take, and a change.")

    @property
    def capabilities(self) -> frozenset[Capability]:
        always = {Capability.WEIGHTED_TRAFFIC, Capability.START_WITHOUT_TRAFFIC, Capability.READ_VARIABLES}
        return frozenset(always | ({Capability.MAINTENANCE} if self.scale_to_zero else set()))

    @property
    def meanwhile(self) -> str:
        if self.scale_to_zero:
            return "the service has no instance, and visitors get Google's error, which does not say when to come back"
        return super().meanwhile

    def read_releases(self) -> list[Release]:
        service = self._read_service()
        releases = [self._release(service, one) for one in self._read_revisions()]
        begun = service.template.get("revision", "")
        if is_own(begun, service.template.get("annotations", {})) and begun not in {one.id for one in releases}:
            releases.insert(0, _begun(service))
        if releases and releases[0].state == "failed" and releases[0].started_by:
            releases[0].detail = "\n".join([releases[0].detail, *self.read_logs(releases[0].id, 10)]).strip()
        return releases

    def read_traffic(self) -> Split:
        return self._read_service().split

    def read_free_disk(self) -> int | None:
        """Google's business."""
        return None

    def read_logs(self, release_id: str, lines: int = 50) -> list[str]:
        """What it wrote, and what Cloud Run wrote about it. A line takes some seconds to get there."""
        if not _REVISION.fullmatch(release_id):
            return []
        written_by = " OR ".join(f'log_id("run.googleapis.com/{one}")' for one in _WRITTEN_BY)
        of = {"location": self.region, "service_name": self.service, "revision_name": release_id}
        labels = " ".join(f'resource.labels.{name}="{value}"' for name, value in of.items())
        asked = {
            "resourceNames": [f"projects/{self.project}"],
            "filter": f'resource.type="cloud_run_revision" {labels} ({written_by})',
            "orderBy": "timestamp desc",
            "pageSize": lines,
        }
        answer = self._logging.call("POST", "/v2/entries:list", json=asked)
        entries = self._logging.parsed(dict[str, Any], answer).get("entries", [])
        texts = [one.get("textPayload") or one.get("jsonPayload", {}).get("message", "") for one in entries]
        return [str(text).rstrip("\n") for text in reversed(texts) if text][-lines:]

    def describe_start(self) -> str:
        named = {"CPU": self.cpu, "memory": self.memory, "instances at most": self.max_instances}
        said = ", ".join(f"{what} {value}" for what, value in named.items() if value is not None)
        return f"Whatever the template says, it gets: {said}." if said else ""

    def start_release(self, version: str, commit: str, run_id: str) -> Release:
        if not _TAG.fullmatch(version):
            raise RefusedByPlatform("The version is no image tag.", "Name one that exists. Nothing was changed.")
        digest = digest_of(version, commit, run_id)
        revision, tag = f"{self.service}-b-{digest}", f"b-{digest}"
        service, known = self._read_service(), self._read_revisions()
        if begun := [self._release(service, one) for one in known if one.id == revision]:
            return begun[0]
        if service.template.get("revision") == revision:
            return _begun(service)
        if not service.latest:
            raise RefusedByPlatform(
                f"The service {self.service} has no revision yet that runs.",
                "Deploy its first one by hand. Nothing was changed.",
            )
        template = self._template(service, version, {VERSION: version, COMMIT: commit, RUN: run_id})
        template["revision"] = revision
        targets = [*without_failed(_without_old_tags(service.pins(), known), _failed(known)), pinned(revision, tag=tag)]
        changes: dict[str, Any] = {"template": template, "traffic": [one.asked() for one in targets]}
        if VARIABLES in service.annotations:
            changes["annotations"] = {key: text for key, text in service.annotations.items() if key != VARIABLES}
        self._patch(service, changes, service.read_variables().values())
        return _begun(service.model_copy(update={"template": template, "reconciling": True}))

    def shift_traffic(self, split: Split) -> None:
        service, known = self._read_service(), self._read_revisions()
        states = {one.id: one.state for one in known}
        _require_whole(split, states)
        if service.split == split and not service.reconciling:
            return
        tags = [one for one in service.pins() if one.tag]
        targets = [pinned(revision, percent) for revision, percent in split.items()]
        targets += without_failed([one.model_copy(update={"percent": 0}) for one in tags], _failed(known))
        change = self._patch(service, {"traffic": [one.asked() for one in targets]})
        try:
            self._wait_for(change, "the traffic")
        except RefusedByPlatform:
            self._give_up(targets)
            raise
        if self.read_traffic() != split:
            raise Unreachable("Cloud Run has not shifted the traffic yet.", "Look at the service's revisions.")

    def stop_release(self, release_id: str) -> None:
        """Without traffic it has no instances, unless its template asks for some: nothing has to be stopped."""
        if release_id in self.read_traffic():
            raise RefusedByPlatform(f"{release_id} has traffic.", "Shift it away first. Nothing was changed.")

    def scale_release(self, release_id: str, replicas: int) -> None:
        raise RefusedByPlatform("Cloud Run scales a service, not one of its revisions.", "Nothing was changed.")

    def read_maintenance(self) -> str:
        return self._read_service().maintenance.by

    def set_maintenance(self, by: str) -> None:
        """In maintenance it is scaled to no instance. For whom, and the way back, is written in the same call."""
        service = self._read_service()
        now = service.maintenance
        if by == now.by:
            return
        if by and not self.scale_to_zero:
            raise RefusedByPlatform("Cloud Run has no maintenance mode.", "Set scale_to_zero. Nothing was changed.")
        annotations = {name: text for name, text in service.annotations.items() if name != MAINTENANCE}
        if by:
            annotations[MAINTENANCE] = now.model_copy(update={"by": by}).model_dump_json()
        wanted = DISABLED if by else now.scaling
        self._wait_for(self._patch(service, {"scaling": wanted, "annotations": annotations}), "the scaling")
        if scaling_of(self._read_service().scaling) != scaling_of(wanted):
            told = f"Cloud Run did not make of the scaling of {self.service} what it was asked for: {wanted}."
            raise RefusedByPlatform(
                told, "Set it by hand: gcloud run services update, with --scaling, --min and --max."
            )

    def read_variables(self) -> dict[str, str]:
        """Without those whose values are in Secret Manager."""
        return self._read_service().read_variables()

    def set_variables(self, variables: dict[str, str]) -> None:
        """They wait in an annotation of the service: in its template they would start a revision."""
        service = self._read_service()
        secret = {one["name"] for one in service.secret_variables}
        if odd := [one for one, value in variables.items() if not _NAME.fullmatch(one) or "\0" in value]:
            raise RefusedByPlatform(f"A variable cannot be called or hold that: {odd}.", "Nothing was changed.")
        if others := sorted(variables.keys() & (secret | _RESERVED)):
            raise RefusedByPlatform(
                f"Cloud Run or Secret Manager give {', '.join(others)} its value.",
                "Change it there. Nothing was changed.",
            )
        if variables != service.read_variables():
            annotations = {**service.annotations, VARIABLES: json.dumps(variables)}
            changed = self._patch(service, {"annotations": annotations}, variables.values())
            self._wait_for(changed, "the variables")

    def _template(self, service: Service, version: str, annotations: dict[str, str]) -> dict[str, Any]:
        """Of the next revision: the one before, with another image, the variables of now, its size, and whose it is."""
        plain = [{"name": name, "value": value} for name, value in sorted(service.read_variables().items())]
        changed = {
            **service.container,
            "image": f"{self.image}:{version}",
            "env": [*service.secret_variables, *plain],
        }
        if limits := {name: said for name, said in (("cpu", self.cpu), ("memory", self.memory)) if said}:
            resources = service.container.get("resources") or _RESOURCES
            changed["resources"] = {**resources, "limits": {**resources.get("limits", {}), **limits}}
        containers = [changed if one is service.container else one for one in service.template["containers"]]
        annotations = {**service.template.get("annotations", {}), **annotations}
        template = {**service.template, "containers": containers, "annotations": annotations}
        if self.max_instances:
            template["scaling"] = {**template.get("scaling", {}), "maxInstanceCount": self.max_instances}
        return template

    def _release(self, service: Service, revision: Revision) -> Release:
        state = revision.state
        if state == "running" and service.awaits_address(revision.id):
            state = "starting"
        return Release(
            id=revision.id,
            version=revision.version,
            commit=revision.commit,
            state=state,
            url=None if state != "running" or service.has_no_instance_of(revision.id) else service.address(revision.id),
            replicas=0 if state == "failed" else 1,
            started_by=revision.own_annotations.get(RUN, ""),
            created_at=revision.createTime,
            detail=revision.ready.message if state == "failed" else "",
        )

    def _read_service(self) -> Service:
        return self._read(Service, self._path)

    def _read_revisions(self) -> list[Revision]:
        """All that Cloud Run keeps, a thousand at most, newest first."""
        revisions: list[Revision] = []
        asked = {"pageSize": _PAGE}
        while True:
            page = self._read(dict[str, Any], f"{self._path}/revisions", asked)
            found = self._api.shaped(list[Revision], page.get("revisions", []))
            revisions += [one for one in found if not one.deleteTime]
            if not page.get("nextPageToken"):
                return sorted(revisions, key=lambda one: one.createTime, reverse=True)
            asked["pageToken"] = page["nextPageToken"]

    def _patch(self, service: Service, changes: dict[str, Any], private: Iterable[str] = ()) -> Operation:
        """Refused where somebody changed the service since it was read."""
        asked = {"updateMask": ",".join(changes)}
        answer = self._api.call("PATCH", self._path, private, params=asked, json={**changes, "etag": service.etag})
        return self._api.parsed(Operation, answer)

    def _give_up(self, targets: list[Target]) -> None:
        """What is in force is wanted again: else a change that failed may come as soon as its cause is gone."""
        service = self._read_service()
        if not service.reconciling and [one.asked() for one in service.traffic] == [one.asked() for one in targets]:
            with suppress(RefusedByPlatform):  # somebody else has changed it since
                self._patch(service, {"traffic": [one.asked() for one in service.in_force]})

    def _wait_for(self, operation: Operation, what: str) -> None:
        deadline = time.monotonic() + self.timeout * _WAIT_SHARE
        while not operation.done:
            if time.monotonic() >= deadline:
                raise Unreachable(f"Cloud Run has not changed {what} yet.", "Look at the service's revisions.")
            time.sleep(self.look_seconds)
            operation = self._read(Operation, f"/v2/{operation.name}")
        if operation.error:
            reason = str(operation.error.get("message", "no reason"))[:300].rstrip(".")
            raise RefusedByPlatform(
                f"Cloud Run could not change {what}: {reason}.", "What is in force is as it was before."
            )

    def _read(self, shape: type[Shape], path: str, asked: dict[str, str] | None = None) -> Shape:
        return self._api.parsed(shape, self._api.call("GET", path, params=asked))

    @property
    def _path(self) -> str:
        return f"/v2/projects/{self.project}/locations/{self.region}/services/{self.service}"

    @property
    def _api(self) -> VendorApi:
        return self._google("Cloud Run", self.url)

    @property
    def _logging(self) -> VendorApi:
        return self._google("Cloud Logging", self.logging_url)

    def _google(self, named: str, url: str) -> VendorApi:
        return VendorApi(
            named=named,
            url=url,
            token=GoogleAccess(self.credentials, self.timeout),
            seconds=self.timeout,
            look="Look at Google Cloud's status page, and whether the address of its API is right.",
            unauthorized="Give the service account the roles that docs/platforms.md names. Nothing was changed.",
            read_reason=lambda refusal: refusal["error"]["message"],
        )


def _begun(service: Service) -> Release:
    """The revision of the service's template, which Cloud Run does not list yet."""
    annotations, failed = service.template.get("annotations", {}), not service.reconciling
    return Release(
        id=service.template["revision"],
        version=annotations[VERSION],
        commit=annotations[COMMIT],
        state="failed" if failed else "starting",
        url=None,
        replicas=0 if failed else 1,
        started_by=annotations[RUN],
        created_at=datetime.now(UTC),
        detail=service.terminalCondition.message if failed else "",
    )


def _without_old_tags(targets: list[Target], known: list[Revision]) -> list[Target]:
    """With room for one more. The revisions are the newest first."""
    ages = {revision.id: age for age, revision in enumerate(known)}
    own = [one for one in targets if not one.percent and _OWN_TAG.fullmatch(one.tag)]
    old = sorted(own, key=lambda one: ages.get(one.revision, len(ages)))[_TAGS_KEPT - 1 :]
    return [one for one in targets if one not in old]


def _failed(revisions: list[Revision]) -> set[str]:
    return {one.id for one in revisions if one.state == "failed"}


def _require_whole(split: Split, states: Mapping[str, str]) -> None:
    """Raises RefusedByPlatform where it is not 100 percent, of releases that run."""
    if sum(split.values()) != 100 or any(percent <= 0 for percent in split.values()):
        raise RefusedByPlatform("The percentages do not add up to 100.", "Nothing was changed.")
    if idle := [one for one in split if states.get(one) != "running"]:
        raise RefusedByPlatform(f"These do not run: {', '.join(sorted(idle))[:300]}.", "Nothing was changed.")
