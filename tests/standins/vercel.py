"""A stand-in for Vercel's API: it keeps state, and what it deploys really runs, in a sandbox beneath it.

Every request and every answer is held against the published description. It misbehaves on demand. What no description
says is assumed: that a tag which does not exist, or stands at another commit, is refused with 400.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from openapi_core.exceptions import OpenAPIError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from blocks.errors import RefusedByPlatform
from blocks.platforms.interface import Platform, Release
from tests.standins.description import Description, Sent
from tests.standins.serving import serving
from tests.standins.vercel_rolling_release import RollingRelease, as_settings

PROJECT, NAME, TEAM, TOKEN = "prj_of_the_shop", "shop", "team_of_the_shop", "vercel-token-of-the-test"
REPOSITORY = "example/shop"
_STATES = {"starting": "BUILDING", "running": "READY", "failed": "ERROR", "stopped": "CANCELED"}
_CREATOR = {"uid": "user", "email": "user@example.com", "username": "user"}

Answer = tuple[int, Any]


class Refusal(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        self.status, self.content = status, {"error": {"code": code, "message": message}}


@dataclass
class Misbehaviour:
    promotion_seconds: float = 0.1
    """Until a promotion that was accepted moves the traffic."""
    promotion: str = "succeeded"
    """How it ends."""
    stages_by_themselves: bool = False
    """The first of the project's stages ends after a while."""
    refused_variables: set[str] = field(default_factory=set)
    """Not taken, in an answer that says 201."""


@dataclass
class _Deployment:
    release: str
    meta: dict[str, str]
    created: int
    was_live: bool = False


@dataclass
class VercelStandIn:
    beneath: Platform
    """Where the deployments run."""
    description: Description
    misbehaviour: Misbehaviour = field(default_factory=Misbehaviour)
    auto_assign: bool = False
    stages: list[int] = field(default_factory=list)
    """Percents of the project's rolling releases; empty: it has none."""
    violations: list[str] = field(default_factory=list)
    """Of the description, by whoever asked or by this stand-in."""
    url: str = ""
    held: dict[str, str] = field(default_factory=dict)
    """Production's variables, also what nobody can read back."""
    splits: list[dict[str, int]] = field(default_factory=list)
    """Deployment → percent, each time that traffic was given."""
    _deployments: dict[str, _Deployment] = field(default_factory=dict)
    _variables: list[dict[str, Any]] = field(default_factory=list)
    _live: str = ""
    _alias_request: dict[str, Any] | None = None
    _rolling: RollingRelease | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def forget(self) -> None:
        """A project as it was made."""
        self._deployments.clear()
        self._variables.clear()
        self.held.clear()
        self._live, self._alias_request, self._rolling, self.misbehaviour = "", None, None, Misbehaviour()

    def forget_deployments(self, spare: str) -> None:
        """They end beneath, too."""
        for uid in self._deployments.keys() - {spare}:
            self.beneath.stop_release(self._deployments.pop(uid).release)

    def add_variable(self, key: str, value: str, kind: str, *targets: str) -> None:
        self._variables.append(
            {
                "id": f"env_{uuid4().hex}",
                "key": key,
                "value": value,
                "type": kind,
                "target": list(targets),
                "updatedAt": time.time_ns() // 1_000_000,
            }
        )
        if "production" in targets:
            self.held[key] = value

    def keys(self) -> list[str]:
        """Of all variables, for whatever they are."""
        return [str(one["key"]) for one in self._variables]

    def application(self) -> Starlette:
        routes = [
            ("GET", "/v9/projects/{project}", self._get_project),
            ("GET", "/v7/deployments", self._list_deployments),
            ("POST", "/v13/deployments", self._create_deployment),
            ("GET", "/v13/deployments/{deployment}", self._get_deployment),
            ("GET", "/v3/deployments/{deployment}/events", self._list_events),
            ("POST", "/v10/projects/{project}/promote/{deployment}", self._promote),
            ("POST", "/v1/projects/{project}/rollback/{deployment}", self._roll_back),
            ("GET", "/v1/projects/{project}/rolling-release", self._get_rolling_release),
            ("POST", "/v1/projects/{project}/rolling-release/approve-stage", self._approve_stage),
            ("POST", "/v1/projects/{project}/rolling-release/complete", self._complete_rolling_release),
            ("GET", "/v10/projects/{project}/env", self._list_variables),
            ("POST", "/v10/projects/{project}/env", self._create_variables),
            ("GET", "/v1/projects/{project}/env/{variable}", self._get_variable),
            ("DELETE", "/v9/projects/{project}/env/{variable}", self._remove_variable),
        ]
        return Starlette(routes=[Route(path, self._endpoint(act), methods=[verb]) for verb, path, act in routes])

    def _endpoint(self, act: Any) -> Any:
        async def answer(request: Request) -> Response:
            content = await request.body()
            sent = Sent(request.method, request.url.path, request.query_params, request.headers, content)
            status, answered = await run_in_threadpool(self._answer, act, request, sent)
            headers = {"x-vercel-id": f"iad1::{uuid4().hex[:8]}"}
            if answered is None:
                return Response(status_code=status, headers=headers)
            return JSONResponse(answered, status, headers)

        return answer

    def _answer(self, act: Any, request: Request, sent: Sent) -> Answer:
        try:
            self._require_access(request)
            with self._lock:
                status, answered = act(request, json.loads(sent.content or b"{}"))
        except Refusal as refusal:
            return refusal.status, refusal.content
        try:
            self.description.check(sent, status, b"" if answered is None else json.dumps(answered).encode())
        except OpenAPIError as error:
            self.violations.append(f"{sent.method} {sent.path}: {error}: {error.__cause__}")
        return status, answered

    def _require_access(self, request: Request) -> None:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise Refusal(403, "forbidden", "Not authorized")
        if request.query_params.get("teamId") != TEAM:
            raise Refusal(404, "not_found", "Project not found.")
        if request.path_params.get("project", PROJECT) not in (PROJECT, NAME):
            raise Refusal(404, "not_found", "Project not found.")

    def _get_project(self, request: Request, asked: Any) -> Answer:
        regions = {"functionDefaultRegions": ["iad1"]}
        live = {"production": self._as_target(self._live)} if self._live else {}
        return 200, {
            "id": PROJECT,
            "name": NAME,
            "accountId": TEAM,
            "directoryListing": False,
            "nodeVersion": "24.x",
            "resourceConfig": regions,
            "defaultResourceConfig": regions,
            "autoAssignCustomDomains": self.auto_assign,
            "targets": live,
            "lastAliasRequest": self._alias_request,
            "rollingRelease": as_settings(self.stages, self.misbehaviour.stages_by_themselves),
        }

    def _list_deployments(self, request: Request, asked: Any) -> Answer:
        if request.query_params["projectId"] != PROJECT or request.query_params["target"] != "production":
            return 200, {"deployments": [], "pagination": {"count": 0, "next": None, "prev": None}}
        newest_first = sorted(self._deployments, key=lambda uid: self._deployments[uid].created, reverse=True)
        listed = [self._as_listed(uid) for uid in newest_first[: int(request.query_params["limit"])]]
        return 200, {"deployments": listed, "pagination": {"count": len(listed), "next": None, "prev": None}}

    def _create_deployment(self, request: Request, asked: Any) -> Answer:
        source, meta = asked["gitSource"], asked["meta"]
        if f"{source['org']}/{source['repo']}" != REPOSITORY or asked["project"] != PROJECT:
            raise Refusal(400, "incorrect_git_source_info", "The repository is not connected to the project.")
        uid, created = f"dpl_{uuid4().hex}", time.time_ns() // 1_000_000
        try:
            release = self.beneath.start_release(source["ref"], source["sha"], uid)
        except RefusedByPlatform as error:
            raise Refusal(400, "incorrect_git_source_info", error.message) from None
        self._deployments[uid] = _Deployment(release.id, meta, created)
        return 200, self._as_deployment(uid)

    def _get_deployment(self, request: Request, asked: Any) -> Answer:
        return 200, self._as_deployment(self._known(request))

    def _list_events(self, request: Request, asked: Any) -> Answer:
        """The newest first, as it was asked for."""
        uid, query = self._known(request), request.query_params
        lines = self.beneath.read_logs(self._deployments[uid].release, int(query["limit"]))
        now = time.time_ns() // 1_000_000
        about = {"deploymentId": uid, "date": now, "serial": "1"}
        return 200, [
            {"type": "stdout", "created": now, "payload": {**about, "id": str(number), "text": line}}
            for number, line in enumerate(reversed(lines))
        ]

    def _promote(self, request: Request, asked: Any) -> Answer:
        if self._rolling_on():
            raise Refusal(409, "conflict", "A rolling release is in progress.")
        if self.stages and self._live:
            uid = self._ready(request)
            self._later(self._begin_rolling_release, RollingRelease(self._live, uid, list(self.stages)))
            return 201, None
        return self._give_traffic(request, "promote")

    def _roll_back(self, request: Request, asked: Any) -> Answer:
        if not self._deployments[self._known(request)].was_live:
            raise Refusal(422, "unprocessable_entity", "The deployment was never in production.")
        return self._give_traffic(request, "rollback")

    def _give_traffic(self, request: Request, kind: str) -> Answer:
        uid, last = self._ready(request), self._alias_request
        if last and last["jobStatus"] == "in-progress":
            raise Refusal(409, "conflict", "Another promotion is in progress.")
        self._alias_request = {
            "fromDeploymentId": self._live,
            "toDeploymentId": uid,
            "jobStatus": "in-progress",
            "requestedAt": time.time_ns() // 1_000_000,
            "type": kind,
        }
        self._later(self._end_alias_request, self._alias_request)
        return 201, None

    def _later(self, act: Callable[[Any], None], about: object) -> None:
        """Once the call was answered."""
        timer = threading.Timer(self.misbehaviour.promotion_seconds, self._locked, [act, about])
        timer.daemon = True
        timer.start()

    def _locked(self, act: Callable[[Any], None], about: object) -> None:
        with self._lock:
            act(about)

    def _end_alias_request(self, request: dict[str, Any]) -> None:
        if request is not self._alias_request:
            return
        request["jobStatus"] = self.misbehaviour.promotion
        if request["jobStatus"] == "succeeded":
            if rolling := self._rolling_on():
                rolling.state = "ABORTED"
            self._give_all(request["toDeploymentId"])

    def _give_all(self, uid: str) -> None:
        self._give({uid: 100})
        self._live, self._deployments[uid].was_live = uid, True

    def _give(self, shares: dict[str, int]) -> None:
        self.beneath.shift_traffic({self._deployments[uid].release: share for uid, share in shares.items()})
        self.splits.append(shares)

    def _rolling_on(self) -> RollingRelease | None:
        return self._rolling if self._rolling and self._rolling.state == "ACTIVE" else None

    def _get_rolling_release(self, request: Request, asked: Any) -> Answer:
        wanted = request.query_params.get("state")
        found = self._rolling if self._rolling and wanted in (None, self._rolling.state) else None
        return 200, {"rollingRelease": found.as_content(self._as_deployment) if found else None}

    def _approve_stage(self, request: Request, asked: Any) -> Answer:
        rolling = self._rolling_of(asked)
        if asked["nextStageIndex"] != rolling.stage + 1 or asked["nextStageIndex"] >= len(rolling.percents):
            raise Refusal(400, "bad_request", "It is no next stage.")
        self._later(self._enter_stage, (rolling, asked["nextStageIndex"]))
        return self._get_rolling_release(request, asked)

    def _complete_rolling_release(self, request: Request, asked: Any) -> Answer:
        self._later(self._end_rolling_release, self._rolling_of(asked))
        return self._get_rolling_release(request, asked)

    def _rolling_of(self, asked: Any) -> RollingRelease:
        rolling = self._rolling_on()
        if rolling is None or rolling.canary != asked["canaryDeploymentId"]:
            raise Refusal(404, "not_found", "No rolling release of that deployment is in progress.")
        return rolling

    def _begin_rolling_release(self, rolling: RollingRelease) -> None:
        if self.misbehaviour.promotion == "succeeded" and not self._rolling_on():
            self._rolling = rolling
            self._enter_stage((rolling, 0))

    def _enter_stage(self, about: tuple[RollingRelease, int]) -> None:
        rolling, stage = about
        if rolling is self._rolling_on():
            rolling.stage = stage
            if rolling.percent == 100:
                self._end_rolling_release(rolling)
            else:
                self._give({rolling.base: 100 - rolling.percent, rolling.canary: rolling.percent})

    def _end_rolling_release(self, rolling: RollingRelease) -> None:
        if rolling is self._rolling_on():
            self._give_all(rolling.canary)
            rolling.state = "COMPLETE"

    def _list_variables(self, request: Request, asked: Any) -> Answer:
        shown = [{**one, "value": one["value"] if one["type"] == "plain" else "…"} for one in self._variables]
        return 200, {"envs": shown}

    def _get_variable(self, request: Request, asked: Any) -> Answer:
        found = self._variable(request)
        if found["type"] == "sensitive":
            return 200, {**found, "value": "", "decrypted": False}
        return 200, {**found, "decrypted": True}

    def _create_variables(self, request: Request, asked: Any) -> Answer:
        created, failed = [], []
        for wanted in asked:
            known = [one for one in self._variables if (one["key"], one["target"]) == (wanted["key"], wanted["target"])]
            if wanted["key"] in self.misbehaviour.refused_variables:
                about = {"code": "BAD_REQUEST", "message": "not now", "key": wanted["key"]}
                failed.append({"error": about})
            elif known and request.query_params.get("upsert") != "true":
                about = {"code": "ENV_CONFLICT", "message": "it exists", "key": wanted["key"]}
                failed.append({"error": about})
            else:
                self._variables = [one for one in self._variables if one not in known]
                self.add_variable(wanted["key"], wanted["value"], wanted["type"], *wanted["target"])
                created.append(self._variables[-1])
        self._hand_on_variables()
        return 201, {"created": created, "failed": failed}

    def _remove_variable(self, request: Request, asked: Any) -> Answer:
        found = self._variable(request)
        self._variables.remove(found)
        self.held.pop(found["key"], None)
        self._hand_on_variables()
        return 200, found

    def _hand_on_variables(self) -> None:
        here = [one for one in self._variables if "production" in one["target"]]
        self.beneath.set_variables({one["key"]: one["value"] for one in here})

    def _variable(self, request: Request) -> dict[str, Any]:
        found = [one for one in self._variables if one["id"] == request.path_params["variable"]]
        if not found:
            raise Refusal(404, "not_found", "The environment variable was not found.")
        return found[0]

    def _known(self, request: Request) -> str:
        uid = str(request.path_params["deployment"])
        if uid not in self._deployments:
            raise Refusal(404, "not_found", "Deployment not found")
        return uid

    def _ready(self, request: Request) -> str:
        uid = self._known(request)
        if self._release(uid).state != "running":
            raise Refusal(400, "bad_request", "The deployment is not ready.")
        return uid

    def _release(self, uid: str) -> Release:
        wanted = self._deployments[uid].release
        return next(one for one in self.beneath.read_releases() if one.id == wanted)

    def _substate(self, uid: str) -> str:
        if self._deployments[uid].was_live:
            return "PROMOTED"
        rolling = self._rolling_on()
        return "ROLLING" if rolling and rolling.canary == uid else "STAGED"

    def _as_listed(self, uid: str) -> dict[str, Any]:
        shown = self._as_deployment(uid)
        kept = ("name", "projectId", "url", "type", "creator", "meta", "target", "readyState", "readySubstate")
        optional = ("errorCode", "errorMessage", "inspectorUrl")
        return {
            "uid": uid,
            "created": shown["createdAt"],
            "state": shown["readyState"],
            **{name: shown[name] for name in (*kept, *optional) if name in shown},
        }

    def _as_target(self, uid: str) -> dict[str, Any]:
        shown = self._as_deployment(uid)
        kept = ("id", "createdAt", "createdIn", "creator", "name", "plan", "readyState", "type", "url")
        return {
            **{name: shown[name] for name in kept},
            "deploymentHostname": shown["url"],
            "private": False,
            "userId": "user",
        }

    def _as_deployment(self, uid: str) -> dict[str, Any]:
        """As the description wants it; of most of it nobody makes use."""
        kept, release = self._deployments[uid], self._release(uid)
        state, created = _STATES[release.state], kept.created
        failure = {"errorCode": "BUILD_FAILED", "errorMessage": "The build failed."} if state == "ERROR" else {}
        return {
            "id": uid,
            "name": NAME,
            "projectId": PROJECT,
            "ownerId": TEAM,
            "url": (release.url or f"http://{uid}.invalid").removeprefix("http://"),
            "inspectorUrl": f"https://vercel.com/example/{NAME}/{uid}",
            "createdAt": created,
            "buildingAt": created,
            "bootedAt": created,
            "createdIn": "iad1",
            "creator": _CREATOR,
            "meta": kept.meta,
            "target": "production",
            "status": state,
            "readyState": state,
            "readySubstate": self._substate(uid),
            "aliasAssigned": kept.was_live,
            "build": {"env": []},
            "env": [],
            "isInConcurrentBuildsQueue": False,
            "isInSystemBuildsQueue": False,
            "projectSettings": {},
            "buildSkipped": False,
            "public": False,
            "type": "LAMBDAS",
            "regions": ["iad1"],
            "version": 2,
            "plan": "pro",
            "routes": None,
            **failure,
        }


@contextmanager
def running_vercel(beneath: Platform, description: Description) -> Iterator[VercelStandIn]:
    standing_in = VercelStandIn(beneath, description)
    with serving(standing_in.application()) as standing_in.url:
        yield standing_in
