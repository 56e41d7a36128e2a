"""Releases as production deployments of a Vercel project. https://vercel.com/docs/rest-api

A deployment is started with its domains unassigned, and gets all traffic when it is promoted; in stages, where the
project has rolling releases. Vercel answers before the traffic has moved: whether it has is read, never concluded.
"""

import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar, Literal, TypeVar
from urllib.parse import quote

import httpx
from pydantic import AliasChoices, BaseModel, Field

from blocks.errors import RefusedByPlatform, Unreachable
from blocks.platforms.interface import Capability, Platform, Release, Split
from blocks.platforms.vercel_rolling_release import (
    Reading,
    Request,
    RollingRelease,
    Settings,
    request_on,
    require_stage,
)
from blocks.rate_limit import read_reset, read_retry_after
from blocks.reference import Address, Secret
from blocks.vendor_api import VendorApi

Shape = TypeVar("Shape")

_VERSION, _COMMIT, _RUN = "backstopVersion", "backstopCommit", "backstopRun"
"""Keys of a deployment's `meta`."""
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PAGE = 100
"""Deployments, the most that Vercel lists at once. Older ones are looked at one by one, where they have traffic."""
_WAIT_SHARE = 0.8
_STATES: dict[str, Literal["starting", "running", "stopped", "failed"]] = {
    "READY": "running",
    "ERROR": "failed",
    "CANCELED": "stopped",
    "DELETED": "stopped",
}
"""All others are on their way."""


class _Deployment(BaseModel):
    uid: str = Field(validation_alias=AliasChoices("uid", "id"))
    """Lists call it and when it was made otherwise than the deployment itself does."""
    url: str
    created: int = Field(validation_alias=AliasChoices("created", "createdAt"))
    readyState: str = "QUEUED"
    readySubstate: str = ""
    """STAGED: it never had traffic. PROMOTED: it has, or had."""
    errorMessage: str | None = None
    meta: dict[str, str] = {}

    @property
    def was_live(self) -> bool:
        return self.readySubstate == "PROMOTED"


class _Target(BaseModel):
    id: str


class _AliasRequest(BaseModel):
    """The last promotion or rollback."""

    toDeploymentId: str
    jobStatus: str
    requestedAt: int


class _Project(BaseModel):
    id: str
    name: str
    autoAssignCustomDomains: bool = True
    targets: dict[str, _Target | None] = {}
    lastAliasRequest: _AliasRequest | None = None
    rollingRelease: Settings | None = None

    @property
    def live(self) -> str:
        """The deployment that has the traffic; empty before the first one."""
        target = self.targets.get("production")
        return target.id if target else ""


class _Variable(BaseModel):
    id: str
    key: str
    type: str
    value: str = ""
    updatedAt: int = 0
    target: list[str] | str = []
    gitBranch: str | None = None
    customEnvironmentIds: list[str] = []

    @property
    def targets(self) -> list[str]:
        return [self.target] if isinstance(self.target, str) else self.target

    @property
    def is_readable(self) -> bool:
        return self.type in ("plain", "encrypted")


class VercelPlatform(Platform):
    """A release is a production deployment; its `meta` says which version, commit and run it is of."""

    _block_type_name = "Vercel platform"
    _block_type_slug = "vercel-platform"
    _description = "Releases as production deployments of a Vercel project: at once or in its stages, back at once."

    look_seconds: ClassVar[float] = 1

    vendor: Literal["vercel"] = Field(
        "vercel", description="Whose platform it is: a saved block is read again as what it was."
    )
    project: str = Field(pattern=r"^[A-Za-z0-9._-]{1,100}$", description="The project's id or name.")
    team: str = Field("", pattern=r"^[A-Za-z0-9_-]{0,100}$", description="Id of its team, `team_…`; empty: one's own.")
    repository: str = Field(
        pattern=r"^[A-Za-z0-9-]+/[A-Za-z0-9._-]+$", description="GitHub repository that Vercel builds, owner/name."
    )
    rolling: bool = Field(
        False, description="Whether the project has rolling releases: `rollout.steps` are then to be their stages."
    )
    token: Secret = Field(description="Reference to an access token of the team: ${NAME} or file:/PATH.")
    url: Address = Field("https://api.vercel.com", description="Address of Vercel's API.")
    timeout: float = Field(30, gt=0, le=3600, description="Seconds that one call may take, and a promotion.")

    @property
    def capabilities(self) -> frozenset[Capability]:
        by_percent = {Capability.WEIGHTED_TRAFFIC} if self.rolling else set()
        return frozenset({Capability.START_WITHOUT_TRAFFIC, Capability.READ_VARIABLES, *by_percent})

    def read_releases(self) -> list[Release]:
        serving, deployments = self.read_traffic(), self._read_deployments(self._read_project())
        known = {one.uid for one in deployments}
        deployments += [self._read_deployment(uid) for uid in serving if uid not in known]
        releases = [self._release(one) for one in deployments]
        if releases and releases[0].state == "failed" and releases[0].started_by:
            releases[0].detail = "\n".join([releases[0].detail, *self.read_logs(releases[0].id, 10)]).strip()
        return releases

    def read_traffic(self) -> Split:
        rolling = self._read_rolling_release()  # first: what is not under way any more has moved the traffic
        return _split(self._read_project(), rolling)

    def read_stages(self) -> list[int]:
        return self._read_stages(self._read_project())

    def read_free_disk(self) -> int | None:
        """Vercel's business."""
        return None

    def read_logs(self, release_id: str, lines: int = 50) -> list[str]:
        """Of its build, and of what it wrote while it was built and started."""
        asked = {"direction": "backward", "limit": str(lines), "builds": "1"}
        events = self._read(list[dict[str, Any]], f"/v3/deployments/{_quoted(release_id)}/events", asked)
        texts = [str(one.get("payload", one).get("text", "")) for one in events]
        return [text for text in reversed(texts) if text][-lines:]

    def start_release(self, version: str, commit: str, run_id: str) -> Release:
        if not _TAG.fullmatch(version) or ".." in version:
            raise RefusedByPlatform("The version is no tag.", "Name one that exists. Nothing was changed.")
        project = self._read_project()
        if project.autoAssignCustomDomains:
            raise RefusedByPlatform(
                f"The project {project.name} gives each production deployment its domains at once.",
                "Turn off 'Auto-assign Custom Production Domains' in its settings. Nothing was changed.",
            )
        self._read_stages(project)
        meta = {_VERSION: version, _COMMIT: commit, _RUN: run_id}
        for known in self._read_deployments(project):
            if run_id and {**known.meta, **meta} == known.meta:
                return self._release(known)
        organisation, repository = self.repository.split("/")
        source = {"type": "github", "org": organisation, "repo": repository, "ref": version, "sha": commit}
        asked = {"name": project.name, "project": project.id, "target": "production", "gitSource": source, "meta": meta}
        begun = self._call("POST", "/v13/deployments", {"forceNew": "1"}, json=asked)
        return self._release(self._read_deployment(self._api.parsed(str, begun, "id")))

    def shift_traffic(self, split: Split) -> None:
        """By percent only from the deployment that has all, and only up the project's stages."""
        before = self._read_project()
        if _split(before, self._read_rolling_release()) == split:
            return
        target, percent = self._read_target(before, split)
        release = self._read_deployment(target)
        if self._release(release).state != "running":
            raise RefusedByPlatform(f"{target} cannot have traffic: it is {release.readyState}.", "It changed nothing.")
        deadline = time.monotonic() + self.timeout * _WAIT_SHARE
        asked: list[Request] = []
        while time.monotonic() < deadline:
            rolling = self._read_rolling_release()
            project = self._read_project()
            if _split(project, rolling) == split:
                return
            if not (asked and asked[-1].is_last):
                request = self._next_request(project, rolling, release, percent)
                if request not in asked:
                    self._call("POST", request.path, json=request.content)
                    asked.append(request)
            _require_not_failed(project.lastAliasRequest, before.lastAliasRequest, target)
            time.sleep(self.look_seconds)
        raise Unreachable(f"Vercel has not given {target} the traffic yet.", "Look at the project's deployments.")

    def _read_target(self, project: _Project, split: Split) -> tuple[str, int]:
        """Who is to get how much more. Raises RefusedByPlatform for whatever Vercel cannot do."""
        if len(split) == 1 and set(split.values()) == {100}:
            return next(iter(split)), 100
        others = [(uid, share) for uid, share in split.items() if uid != project.live]
        if not self.rolling or len(split) != 2 or len(others) != 1 or sum(split.values()) != 100:
            raise RefusedByPlatform(
                "Vercel gives all traffic to one deployment, or a stage of it to one beside that, with `rolling`.",
                "Nothing was changed.",
            )
        require_stage(others[0][1], self._read_stages(project)[:-1])
        return others[0]

    def _next_request(
        self, project: _Project, rolling: RollingRelease | None, target: _Deployment, percent: int
    ) -> Request:
        """What leads there from how it stands now."""
        if rolling and rolling.canary == target.uid:
            return request_on(rolling, project.id, percent)
        if target.was_live and percent == 100:
            return Request(f"/v1/projects/{project.id}/rollback/{_quoted(target.uid)}", {}, is_last=True)
        self._read_stages(project)  # begins a rolling release, wherever the project has them
        return Request(f"/v10/projects/{project.id}/promote/{_quoted(target.uid)}", {}, is_last=not self.rolling)

    def _read_stages(self, project: _Project) -> list[int]:
        """Raises RefusedByPlatform where the project is not as `rolling` says."""
        stages = project.rollingRelease.read_percents() if project.rollingRelease else []
        if bool(stages) != self.rolling:
            raise RefusedByPlatform(
                f"The project {project.name} has {'' if stages else 'no '}rolling releases.",
                f"Say `rolling: {str(bool(stages)).lower()}` of the platform, or change the project's settings."
                " Nothing was changed.",
            )
        return stages

    def _read_rolling_release(self) -> RollingRelease | None:
        """The one that is under way."""
        if not self.rolling:
            return None
        found = self._read(Reading, f"/v1/projects/{self.project}/rolling-release", {"state": "ACTIVE"}).rollingRelease
        return found if found and found.is_active else None

    def stop_release(self, release_id: str) -> None:
        """Without traffic it runs nowhere, and Vercel keeps it: nothing has to be stopped."""
        if release_id in self.read_traffic():
            raise RefusedByPlatform(f"{release_id} has traffic.", "Shift it away first. Nothing was changed.")

    def scale_release(self, release_id: str, replicas: int) -> None:
        raise RefusedByPlatform("Vercel decides itself how many replicas run.", "Nothing was changed.")

    def read_maintenance(self) -> str:
        self._read_project()
        return ""

    def set_maintenance(self, by: str) -> None:
        if by:
            raise RefusedByPlatform("Vercel has no maintenance mode.", "Nothing was changed.")
        self._read_project()

    def read_variables(self) -> dict[str, str]:
        """Those for production alone, but for sensitive ones, which nobody can read back."""
        return {one.key: self._read_value(one) for one in self._read_own_variables() if one.is_readable}

    def set_variables(self, variables: dict[str, str]) -> None:
        """Raises Unreachable where Vercel took some and others not."""
        _require_names(variables)
        known = {one.key: one for one in self._read_own_variables()}
        if hidden := sorted(name for name in variables if name in known and not known[name].is_readable):
            raise RefusedByPlatform(
                f"{', '.join(hidden)} cannot be read back at Vercel: nobody could put back what it was.",
                "Make it one that can be read, or write it as a sensitive one. Nothing was changed.",
            )
        values = {name: self._read_value(one) for name, one in known.items() if one.is_readable}
        changed = {name: value for name, value in variables.items() if values.get(name) != value}
        removed = [known[name].id for name in values.keys() - variables.keys()]
        if changed:
            kinds = {name: known[name].type if name in known else "encrypted" for name in changed}
            self._write_variables(changed, kinds)
        for variable in removed:
            self._call("DELETE", f"/v9/projects/{self.project}/env/{_quoted(variable)}")

    def read_sealed(self) -> dict[str, str]:
        """Sensitive ones."""
        return {one.key: str(one.updatedAt) for one in self._read_own_variables() if not one.is_readable}

    def write_sealed(self, variables: dict[str, str]) -> None:
        """Raises Unreachable where Vercel took some and others not."""
        _require_names(variables)
        known = {one.key: one for one in self._read_own_variables()}
        if shown := sorted(name for name in variables if name in known and known[name].type != "sensitive"):
            raise RefusedByPlatform(
                f"{', '.join(shown)} is no sensitive variable at Vercel.",
                "Make it one there, or write it as one that can be read. Nothing was changed.",
            )
        self._write_variables(variables, dict.fromkeys(variables, "sensitive"))

    def _write_variables(self, values: dict[str, str], kinds: dict[str, str]) -> None:
        """`kinds`: variable → Vercel's type of it."""
        wanted = [
            {"key": name, "value": value, "type": kinds[name], "target": ["production"]}
            for name, value in values.items()
        ]
        sent = list(values.values())
        answer = self._call("POST", f"/v10/projects/{self.project}/env", {"upsert": "true"}, sent, json=wanted)
        failed = self._api.parsed(list[dict[str, dict[str, Any]]], answer, "failed")
        if failed:
            codes = {str(one["error"].get("key") or one["error"].get("envVarKey")): one["error"] for one in failed}
            told = ", ".join(f"{name}: {error.get('code')}" for name, error in codes.items())
            raise Unreachable(
                f"Vercel took only some of the variables ({told}).", "Look at them in the project's settings."
            )

    def _read_own_variables(self) -> list[_Variable]:
        """Those for production, on every branch. One that production shares with others is refused."""
        answer = self._call("GET", f"/v10/projects/{self.project}/env")
        found = self._api.parsed(list[_Variable], answer, "envs")
        here = [one for one in found if "production" in one.targets and not one.gitBranch and one.type != "system"]
        if shared := [one.key for one in here if len(one.targets) > 1 or one.customEnvironmentIds]:
            raise RefusedByPlatform(
                f"Production shares {', '.join(sorted(shared))} with other environments of the project.",
                "Give production variables of its own. Nothing was changed.",
            )
        return here

    def _read_value(self, variable: _Variable) -> str:
        if variable.type == "plain":
            return variable.value
        answer = self._call("GET", f"/v1/projects/{self.project}/env/{_quoted(variable.id)}")
        return self._api.parsed(str, answer, "value")

    def _read_project(self) -> _Project:
        return self._read(_Project, f"/v9/projects/{self.project}")

    def _read_deployments(self, project: _Project) -> list[_Deployment]:
        """The newest first."""
        asked = {"projectId": project.id, "target": "production", "limit": str(_PAGE)}
        answer = self._call("GET", "/v7/deployments", asked)
        return self._api.parsed(list[_Deployment], answer, "deployments")

    def _read_deployment(self, uid: str) -> _Deployment:
        return self._read(_Deployment, f"/v13/deployments/{_quoted(uid)}")

    def _release(self, deployment: _Deployment) -> Release:
        meta, state = deployment.meta, _STATES.get(deployment.readyState, "starting")
        return Release(
            id=deployment.uid,
            version=meta.get(_VERSION) or meta.get("githubCommitRef", ""),
            commit=meta.get(_COMMIT) or meta.get("githubCommitSha", ""),
            state=state,
            url=f"{self._api.scheme}://{deployment.url}" if state == "running" else None,
            replicas=1 if state in ("running", "starting") else 0,
            started_by=meta.get(_RUN, ""),
            created_at=datetime.fromtimestamp(deployment.created / 1000, UTC),
            detail=(deployment.errorMessage or "") if state == "failed" else "",
        )

    def _read(self, shape: type[Shape], path: str, asked: dict[str, str] | None = None) -> Shape:
        return self._api.parsed(shape, self._call("GET", path, asked))

    def _call(
        self,
        method: str,
        path: str,
        asked: dict[str, str] | None = None,
        private: Iterable[str] = (),
        **content: Any,
    ) -> httpx.Response:
        team = {"teamId": self.team} if self.team else {}
        return self._api.call(method, path, private, params={**(asked or {}), **team}, **content)

    @property
    def _api(self) -> VendorApi:
        return VendorApi(
            named="Vercel",
            url=self.url,
            token=self.token,
            seconds=self.timeout,
            look="Look at its status page, and whether the address of its API is right.",
            unauthorized="Give it an access token of the team that has not expired. Nothing was changed.",
            read_reason=lambda refusal: refusal["error"]["message"],
            request_id="x-vercel-id",
            read_wait=_read_wait,
        )


def _require_names(variables: dict[str, str]) -> None:
    """Raises RefusedByPlatform."""
    if odd := [name for name, value in variables.items() if not _NAME.fullmatch(name) or "\0" in value]:
        raise RefusedByPlatform(f"A variable cannot be called or hold that: {odd}.", "Nothing was changed.")


def _split(project: _Project, rolling: RollingRelease | None) -> Split:
    if rolling:
        return rolling.split
    return {project.live: 100} if project.live else {}


def _require_not_failed(last: _AliasRequest | None, earlier: _AliasRequest | None, target: str) -> None:
    """Raises RefusedByPlatform."""
    if last and last != earlier and last.toDeploymentId == target and last.jobStatus in ("failed", "skipped"):
        raise RefusedByPlatform(
            f"Vercel could not give {target} the traffic: {last.jobStatus}.", "The traffic is where it was."
        )


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _read_wait(answer: httpx.Response) -> float | None:
    """Vercel says when the window ends instead of for how long to wait: X-RateLimit-Reset, in seconds since 1970."""
    told = read_retry_after(answer)
    return read_reset(answer) if told is None and answer.status_code == httpx.codes.TOO_MANY_REQUESTS else told
