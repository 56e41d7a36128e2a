"""Releases as deployments of a Railway service. https://docs.railway.com/integrations/api

A service has one active deployment: what is started takes all traffic as soon as it is healthy, and what had it before
is removed. Railway keeps its image and its variables for a while, and a rollback makes a new deployment of them. So a
release is whatever was deployed with the same mark: Railway has no place for a run's id but the service's variables,
and each deployment keeps those that it began with.
"""

import hashlib
import re
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar, Literal, NamedTuple
from uuid import uuid4

import httpx
from pydantic import BaseModel, Field, PrivateAttr

from blocks.errors import RefusedByPlatform, Unreachable
from blocks.platforms.interface import Capability, Platform, Release, Split
from blocks.reference import Address, Secret
from blocks.vendor_api import VendorApi

_RELEASE, _VERSION, _COMMIT, _RUN = "BACKSTOP_RELEASE", "BACKSTOP_VERSION", "BACKSTOP_COMMIT", "BACKSTOP_RUN"
"""Variables that mark a deployment."""
_NOT_THE_USERS = ("BACKSTOP_", "RAILWAY_")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PAGE = 20
"""Deployments that are looked at, and what is active: more than a plan keeps for a rollback."""
_WAIT_SHARE = 0.8
_ON_ITS_WAY = frozenset({"QUEUED", "WAITING", "NEEDS_APPROVAL", "INITIALIZING", "BUILDING", "DEPLOYING"})
_BROKEN = frozenset({"FAILED", "CRASHED"})
_PASSING = ("INTERNAL_SERVER_ERROR", "Problem processing request")
"""Codes and words of errors that are no refusal."""

_DEPLOYMENTS = """
query deployments($environment: String!, $service: String!, $count: Int!) {
  deployments(first: $count, input: {environmentId: $environment, serviceId: $service, includeDeleted: true}) {
    edges { node { id status createdAt staticUrl canRollback meta } }
  }
  serviceInstance(environmentId: $environment, serviceId: $service) {
    activeDeployments { id status createdAt staticUrl canRollback meta }
  }
}"""
_ACTIVE = """
query active($environment: String!, $service: String!) {
  serviceInstance(environmentId: $environment, serviceId: $service) { activeDeployments { id } }
}"""
_LOGS = """
query logs($deployment: String!, $count: Int!) {
  buildLogs(deploymentId: $deployment, limit: $count) { message }
  deploymentLogs(deploymentId: $deployment, limit: $count) { message }
}"""
_VARIABLES = """
query variables($project: String!, $environment: String!, $service: String!) {
  variables(projectId: $project, environmentId: $environment, serviceId: $service, unrendered: true)
}"""
_SET_VARIABLES = """
mutation set($input: VariableCollectionUpsertInput!) { variableCollectionUpsert(input: $input) }"""
_DEPLOY = """
mutation deploy($environment: String!, $service: String!, $commit: String!) {
  serviceInstanceDeployV2(environmentId: $environment, serviceId: $service, commitSha: $commit)
}"""
_ROLL_BACK = "mutation rollBack($deployment: String!) { deploymentRollback(id: $deployment) }"
_CANCEL = "mutation cancel($deployment: String!) { deploymentCancel(id: $deployment) }"


class _Deployment(BaseModel):
    id: str
    status: str
    createdAt: datetime
    staticUrl: str | None = None
    canRollback: bool
    meta: dict[str, Any] | None = None

    @property
    def commit(self) -> str:
        return str((self.meta or {}).get("commitHash") or "")


class _Edge(BaseModel):
    node: _Deployment


class _Listed(BaseModel):
    edges: list[_Edge]


class _Instance(BaseModel):
    activeDeployments: list[_Deployment]


class _Deployments(BaseModel):
    deployments: _Listed
    serviceInstance: _Instance


class _Snapshot(BaseModel):
    """What a deployment began with."""

    variables: dict[str, Any]


class _Line(BaseModel):
    message: str


class _Error(BaseModel):
    message: str
    extensions: dict[str, Any] | None = None


class _Mark(NamedTuple):
    """What a deployment's variables say of it."""

    release: str
    version: str
    commit: str
    run: str


class _Group(NamedTuple):
    """The deployments of one release, the newest first."""

    mark: _Mark
    deployments: list[_Deployment]
    live: _Deployment | None

    @property
    def on_its_way(self) -> list[_Deployment]:
        return [one for one in self.deployments if one.status in _ON_ITS_WAY]

    @property
    def returnable(self) -> _Deployment | None:
        return next((one for one in self.deployments if one.canRollback), None)

    @property
    def state(self) -> Literal["starting", "running", "stopped", "failed"]:
        if self.live:
            return "failed" if self.live.status in _BROKEN else "running"
        if self.on_its_way:
            return "starting"
        return "failed" if self.deployments[0].status in _BROKEN and not self.returnable else "stopped"


class RailwayPlatform(Platform):
    """A release is what was deployed with one mark, by whatever deployments: a rollback makes a new one of them."""

    _block_type_name = "Railway platform"
    _block_type_slug = "railway-platform"
    _description = "Releases as deployments of a Railway service: what is started takes the traffic, and gives it back."

    look_seconds: ClassVar[float] = 2

    vendor: Literal["railway"] = Field(
        "railway", description="Whose platform it is: a saved block is read again as what it was."
    )
    project: str = Field(pattern=r"^[A-Za-z0-9-]{1,64}$", description="The project's id.")
    railway_environment: str = Field(pattern=r"^[A-Za-z0-9-]{1,64}$", description="Id of the project's environment.")
    service: str = Field(pattern=r"^[A-Za-z0-9-]{1,64}$", description="The service's id.")
    token: Secret = Field(description="Reference to a project token of that environment: ${NAME} or file:/PATH.")
    url: Address = Field("https://backboard.railway.com", description="Address of Railway's API.")
    timeout: float = Field(
        120, gt=0, le=3600, description="Seconds that one call may take, and a rollback until it is healthy."
    )

    _marks: dict[str, _Mark] = PrivateAttr(default_factory=dict)
    """Deployment → its mark, which never changes."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({Capability.STOP, Capability.READ_VARIABLES})

    def read_releases(self) -> list[Release]:
        groups = self._read_groups()
        releases = [_release(group, self._api.scheme) for group in groups]
        if releases and releases[0].state == "failed":
            releases[0].detail = "\n".join(self.read_logs(releases[0].id, 10))
        return releases

    def read_traffic(self) -> Split:
        live = next((group for group in self._read_groups() if group.live), None)
        return {live.mark.release: 100} if live else {}

    def read_free_disk(self) -> int | None:
        """Railway's business."""
        return None

    def read_logs(self, release_id: str, lines: int = 50) -> list[str]:
        """Of its newest deployment: of the build, and then of what it wrote itself."""
        group = self._find(release_id)
        told = self._ask(_LOGS, {"deployment": group.deployments[0].id, "count": lines})
        written = self._api.shaped(dict[str, list[_Line]], told)
        return [one.message for name in ("buildLogs", "deploymentLogs") for one in written.get(name, [])][-lines:]

    def start_release(self, version: str, commit: str, run_id: str) -> Release:
        if not _TAG.fullmatch(version) or ".." in version:
            raise RefusedByPlatform("The version is no tag.", "Name one that exists. Nothing was changed.")
        run = run_id or str(uuid4())
        digest = hashlib.sha256(f"{run}\n{version}\n{commit}".encode()).hexdigest()[:10]
        mark = _Mark(f"{version}-{digest}", version, commit, run_id)
        groups = self._read_groups()
        if known := next((group for group in groups if group.mark.release == mark.release), None):
            return _release(known, self._api.scheme)
        if any(group.live and not group.mark.commit for group in groups):
            raise RefusedByPlatform(
                "What runs was deployed without a commit: nobody could tell whether it is back after a rollback.",
                "Deploy it once from its repository. Nothing was changed.",
            )
        self._write_variables({_RELEASE: mark.release, _VERSION: version, _COMMIT: commit, _RUN: run_id})
        self._change(_DEPLOY, {**self._there, "commit": commit})
        if begun := self._known(mark.release):
            return _release(begun, self._api.scheme)
        raise Unreachable(f"Railway does not list {mark.release} yet, which it began.", self._api.look)

    def shift_traffic(self, split: Split) -> None:
        """Raises Unreachable while it is on its way after `timeout`; asked again, that one is waited for."""
        target = _only(split)
        group = self._find(target)
        if group.live:
            return
        known = {one.id for one in group.deployments}
        if not group.on_its_way:
            if not group.returnable:
                raise RefusedByPlatform(
                    f"Railway cannot return to {target} any more: it is {group.deployments[0].status}.",
                    "Deploy its version anew. Nothing was changed.",
                )
            self._change(_ROLL_BACK, {"deployment": group.returnable.id})
        self._wait_for(target, known - {one.id for one in group.on_its_way})

    def stop_release(self, release_id: str) -> None:
        """What is on its way is given up. What has lost its traffic runs nowhere: nothing has to be stopped."""
        group = self._known(release_id)
        if group is None:
            return
        if group.live:
            raise RefusedByPlatform(f"{release_id} has traffic.", "Shift it away first. Nothing was changed.")
        for deployment in group.on_its_way:
            try:
                self._change(_CANCEL, {"deployment": deployment.id})
            except RefusedByPlatform:
                raise Unreachable(
                    f"Railway could not give {release_id} up: it may be live by now.", "It is looked at again."
                ) from None

    def scale_release(self, release_id: str, replicas: int) -> None:
        """A stopped one is started, which gives it the traffic."""
        if replicas != 1:
            raise RefusedByPlatform(
                "Railway's replicas are the service's, not a release's.",
                "Set them in its settings. Nothing was changed.",
            )
        self.shift_traffic({release_id: 100})

    def read_maintenance(self) -> str:
        self._read_active()
        return ""

    def set_maintenance(self, by: str) -> None:
        if by:
            raise RefusedByPlatform("Railway has no maintenance mode.", "Nothing was changed.")
        self._read_active()

    def read_variables(self) -> dict[str, str]:
        """As they were written: references to other services' variables are not followed. Sealed ones are not there."""
        return {name: value for name, value in self._read_variables().items() if not name.startswith(_NOT_THE_USERS)}

    def set_variables(self, variables: dict[str, str]) -> None:
        """Where one is to go, all are written anew, because to delete a single one would deploy the service."""
        odd = [name for name, value in variables.items() if not _NAME.fullmatch(name) or "\0" in value]
        if odd := [*odd, *(name for name in variables if name.startswith(_NOT_THE_USERS))]:
            raise RefusedByPlatform(f"A variable cannot be called or hold that: {odd}.", "Nothing was changed.")
        held = self._read_variables()
        marks = {name: value for name, value in held.items() if name.startswith("BACKSTOP_")}
        gone = {name for name in held if not name.startswith(_NOT_THE_USERS)} - variables.keys()
        if gone:
            self._write_variables({**marks, **variables}, replace=True)
        elif changed := {name: value for name, value in variables.items() if held.get(name) != value}:
            self._write_variables(changed)

    def _read_groups(self) -> list[_Group]:
        """The newest release first."""
        told = self._api.shaped(_Deployments, self._ask(_DEPLOYMENTS, {**self._there, "count": _PAGE}))
        active = {one.id: one for one in told.serviceInstance.activeDeployments}
        listed = {edge.node.id: edge.node for edge in told.deployments.edges}
        found = sorted({**listed, **active}.values(), key=lambda one: one.createdAt, reverse=True)
        self._learn_marks(one.id for one in found)
        live = next((one for one in found if one.id in active), None)
        groups: dict[str, _Group] = {}
        for one in found:
            mark = self._mark_of(one)
            group = groups.setdefault(mark.release, _Group(mark, [], None))
            group.deployments.append(one)
            if one is live:
                groups[mark.release] = group._replace(live=one)
        return sorted(groups.values(), key=lambda group: group.deployments[-1].createdAt, reverse=True)

    def _learn_marks(self, deployments: Iterable[str]) -> None:
        """In one question, of those that are not known yet."""
        asked = [one for one in deployments if one not in self._marks]
        if not asked:
            return
        declared = ", ".join(f"$d{number}: String!" for number in range(len(asked)))
        looks = " ".join(
            f"d{number}: deploymentSnapshot(deploymentId: $d{number}) {{ variables }}" for number in range(len(asked))
        )
        told = self._ask(
            f"query marks({declared}) {{ {looks} }}", {f"d{number}": one for number, one in enumerate(asked)}
        )
        snapshots = self._api.shaped(dict[str, _Snapshot | None], told)
        for number, one in enumerate(asked):
            if snapshot := snapshots.get(f"d{number}"):
                held = snapshot.variables
                self._marks[one] = _Mark(*(str(held.get(name, "")) for name in (_RELEASE, _VERSION, _COMMIT, _RUN)))

    def _mark_of(self, deployment: _Deployment) -> _Mark:
        """What bears none, or that of another commit, somebody else deployed: its commit tells which release it is."""
        mark = self._marks.get(deployment.id)
        if mark and mark.release and deployment.commit in ("", mark.commit):
            return mark
        return _Mark(deployment.commit or deployment.id, "", deployment.commit, "")

    def _known(self, release_id: str) -> _Group | None:
        return next((group for group in self._read_groups() if group.mark.release == release_id), None)

    def _find(self, release_id: str) -> _Group:
        group = self._known(release_id)
        if group is None:
            raise RefusedByPlatform(f"Railway knows no release {release_id}.", "Nothing was changed.")
        return group

    def _wait_for(self, target: str, earlier: set[str]) -> None:
        deadline = time.monotonic() + self.timeout * _WAIT_SHARE
        while time.monotonic() < deadline:
            group = self._find(target)
            if group.live:
                return
            if broken := [one for one in group.deployments if one.id not in earlier and one.status in _BROKEN]:
                raise RefusedByPlatform(
                    f"Railway could not give {target} the traffic: {broken[0].status}.", "The traffic is where it was."
                )
            time.sleep(self.look_seconds)
        raise Unreachable(f"Railway has not given {target} the traffic yet.", "Look at the service's deployments.")

    def _read_active(self) -> None:
        self._ask(_ACTIVE, self._there)

    def _read_variables(self) -> dict[str, str]:
        told = self._ask(_VARIABLES, {"project": self.project, **self._there})
        return self._api.shaped(dict[str, str], told.get("variables"))

    def _write_variables(self, variables: dict[str, str], replace: bool = False) -> None:
        """What runs keeps its own."""
        wanted = {
            "projectId": self.project,
            "environmentId": self.railway_environment,
            "serviceId": self.service,
            "variables": variables,
            "replace": replace,
            "skipDeploys": True,
        }
        self._change(_SET_VARIABLES, {"input": wanted}, variables.values())

    @property
    def _there(self) -> dict[str, str]:
        return {"environment": self.railway_environment, "service": self.service}

    def _change(self, mutation: str, asked: dict[str, Any], private: Iterable[str] = ()) -> None:
        """Most say no more than yes or no. Raises RefusedByPlatform for a no."""
        if not all(self._ask(mutation, asked, private).values()):
            raise RefusedByPlatform("Railway refused, without a reason.", "It changed nothing.")

    def _ask(self, document: str, asked: dict[str, Any], private: Iterable[str] = ()) -> dict[str, Any]:
        """Railway says its refusals with status 200."""
        answer = self._api.call("POST", "/graphql/v2", private, json={"query": document, "variables": asked})
        told = self._api.parsed(dict[str, Any], answer)
        if told.get("errors"):
            errors = self._api.parsed(list[_Error], answer, "errors")
            raise self._translated(errors[0], answer, private)
        return self._api.parsed(dict[str, Any], answer, "data")

    def _translated(self, error: _Error, answer: httpx.Response, private: Iterable[str]) -> Exception:
        message, code = self._api.quoted(error.message, answer, private), (error.extensions or {}).get("code")
        if code in _PASSING or message in _PASSING:
            return Unreachable(f"Railway failed: {message}.", self._api.look)
        hint = self._api.unauthorized if "authorized" in message.lower() else "It changed nothing."
        return RefusedByPlatform(f"Railway refused: {message}{self._api.number_of(answer)}.", hint)

    @property
    def _api(self) -> VendorApi:
        return VendorApi(
            named="Railway",
            url=self.url,
            token=self.token,
            sent_as="Project-Access-Token: {}",
            seconds=self.timeout,
            look="Look at its status page, and whether the address of its API is right.",
            unauthorized="Give it a project token of that environment. Nothing was changed.",
            read_reason=lambda refusal: refusal["errors"][0]["message"],
            request_id="x-railway-request-id",
        )


def _only(split: Split) -> str:
    """Raises RefusedByPlatform for whatever Railway cannot do."""
    if len(split) != 1 or set(split.values()) != {100}:
        raise RefusedByPlatform("Railway gives all traffic to one deployment.", "Nothing was changed.")
    return next(iter(split))


def _release(group: _Group, scheme: str) -> Release:
    """Its address is the service's own, and is its own while it is live."""
    mark, state = group.mark, group.state
    host = group.live.staticUrl if group.live else None
    return Release(
        id=mark.release,
        version=mark.version,
        commit=mark.commit,
        state=state,
        url=f"{scheme}://{host}" if host and state == "running" else None,
        replicas=1 if state in ("running", "starting") else 0,
        started_by=mark.run,
        created_at=group.deployments[-1].createdAt,
    )
