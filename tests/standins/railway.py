"""A stand-in for Railway's API: it keeps state, and what it deploys really runs, in a sandbox beneath it.

It is the published schema, executed: a question or an answer that the schema does not allow is kept as a violation.
What no schema says is assumed: that a deployment's snapshot is there as soon as the deployment is, that a rollback
makes a new deployment with the variables of the old one, and that the service's own variables stay as they are.
"""

import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from graphql import GraphQLError, GraphQLSchema, build_schema, graphql_sync
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from blocks.errors import RefusedByPlatform
from blocks.platforms.interface import Platform
from tests.standins.description import FOLDER
from tests.standins.serving import serving

PROJECT, ENVIRONMENT, SERVICE = "project-of-the-shop", "environment-production", "service-of-the-shop"
TOKEN = "railway-token-of-the-test"
_OWN = {"RAILWAY_SERVICE_NAME": "shop", "RAILWAY_ENVIRONMENT_NAME": "production"}
_LOOK_SECONDS = 0.05


class Refusal(GraphQLError):
    """Railway says it with status 200."""


@dataclass
class Misbehaviour:
    healthy_seconds: float = 0
    """From when a deployment runs until it takes the traffic."""
    fails_afterwards: set[str] = field(default_factory=set)
    """Mutations that are carried out and then answered with an error of its own."""
    puts_off: set[str] = field(default_factory=set)
    """Operations that are answered with 429 once, and not carried out."""
    keeps_for_rollback: bool = True
    hides_newest: int = 0
    """Deployments that the list does not have yet."""


@dataclass
class _Deployment:
    id: str
    release: str
    """Beneath."""
    commit: str
    variables: dict[str, str]
    created: datetime
    status: str = "BUILDING"
    was_live: bool = False


@dataclass
class RailwayStandIn:
    beneath: Platform
    """Where the deployments run."""
    schema: GraphQLSchema
    version_of: Callable[[str], str]
    """Of a commit; empty where there is none like that."""
    misbehaviour: Misbehaviour = field(default_factory=Misbehaviour)
    violations: list[str] = field(default_factory=list)
    """Of the schema, by whoever asked or by this stand-in."""
    url: str = ""
    variables: dict[str, str] = field(default_factory=dict)
    shifts: list[str] = field(default_factory=list)
    """The commit of each deployment that took the traffic, in that order."""
    _deployments: list[_Deployment] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def forget(self) -> None:
        """A service as it was made."""
        self.misbehaviour = Misbehaviour()
        self.variables.clear()
        self.forget_deployments()

    def forget_deployments(self, spare_live: bool = False) -> None:
        """They end beneath, too."""
        with self._lock:
            left = [one for one in self._deployments if not (spare_live and one is self._live)]
            self._deployments = [one for one in self._deployments if one not in left]
        for one in left:
            one.status = "REMOVED"
            if one.release not in self.beneath.read_traffic():
                self.beneath.stop_release(one.release)

    def deploy_by_hand(self, commit: str) -> None:
        """As somebody does on Railway's page."""
        with self._lock:
            self._begin(commit, {**self.variables})

    def deployments(self) -> list[str]:
        """Their ids."""
        return [one.id for one in self._deployments]

    def application(self) -> Starlette:
        return Starlette(routes=[Route("/graphql/v2", self._answer, methods=["POST"])])

    @property
    def _live(self) -> _Deployment | None:
        return next((one for one in self._deployments if one.status in ("SUCCESS", "CRASHED")), None)

    async def _answer(self, request: Request) -> Response:
        asked = await request.json()
        allowed = request.headers.get("Project-Access-Token") == TOKEN
        operation = asked["query"].split("(")[0].split()[-1]
        if operation in self.misbehaviour.puts_off:
            self.misbehaviour.puts_off.remove(operation)
            return Response(status_code=429, headers={"Retry-After": "1"})
        answered = await run_in_threadpool(self._execute, asked, allowed)
        return JSONResponse(answered, headers={"x-railway-request-id": uuid4().hex[:8]})

    def _execute(self, asked: dict[str, Any], allowed: bool) -> dict[str, Any]:
        resolvers = {
            "deployments": self._list_deployments,
            "serviceInstance": self._get_instance,
            "deploymentSnapshot": self._get_snapshot,
            "buildLogs": lambda info, **asked: [],
            "deploymentLogs": self._list_logs,
            "variables": self._get_variables,
            "variableCollectionUpsert": self._set_variables,
            "serviceInstanceDeployV2": self._deploy,
            "deploymentRollback": self._roll_back,
            "deploymentCancel": self._cancel,
        }
        if not allowed:
            resolvers = dict.fromkeys(resolvers, _refuse_everybody)
        with self._lock:
            told = graphql_sync(self.schema, asked["query"], resolvers, variable_values=asked.get("variables"))
        for error in told.errors or []:
            if not isinstance(error.original_error, Refusal):
                self.violations.append(f"{error}: {error.original_error!r}")
        return told.formatted  # type: ignore[return-value]

    def _list_deployments(self, info: Any, input: dict[str, Any], first: int, **asked: Any) -> dict[str, Any]:
        _require_ours(input)
        newest_first = sorted(self._deployments, key=lambda one: one.created, reverse=True)
        newest_first = newest_first[self.misbehaviour.hides_newest :][:first]
        return {"edges": [{"cursor": one.id, "node": self._shown(one)} for one in newest_first], "pageInfo": {}}

    def _get_instance(self, info: Any, **asked: Any) -> dict[str, Any]:
        _require_ours(asked)
        return {"activeDeployments": [self._shown(self._live)] if self._live else []}

    def _get_snapshot(self, info: Any, deploymentId: str) -> dict[str, Any]:
        return {"id": f"snapshot-{deploymentId}", "variables": {**self._find(deploymentId).variables, **_OWN}}

    def _list_logs(self, info: Any, deploymentId: str, limit: int, **asked: Any) -> list[dict[str, Any]]:
        lines = self.beneath.read_logs(self._find(deploymentId).release, limit)
        return [{"message": line, "attributes": [], "timestamp": _now().isoformat()} for line in lines]

    def _get_variables(self, info: Any, **asked: Any) -> dict[str, str]:
        _require_ours(asked)
        return {**self.variables, **_OWN}

    def _set_variables(self, info: Any, input: dict[str, Any]) -> bool:
        _require_ours(input)
        if input.get("replace"):
            self.variables.clear()
        self.variables.update(input["variables"])
        if not input.get("skipDeploys") and self._live:
            self._begin(self._live.commit, {**self.variables})
        return self._done("variableCollectionUpsert")

    def _deploy(self, info: Any, commitSha: str, **asked: Any) -> str:
        _require_ours(asked)
        begun = self._begin(commitSha, {**self.variables})
        self._done("serviceInstanceDeployV2")
        return begun.id

    def _roll_back(self, info: Any, id: str) -> bool:
        known = self._find(id)
        if not self._may_return_to(known):
            raise Refusal("Deployment cannot be rolled back")
        self._begin(known.commit, known.variables)
        return self._done("deploymentRollback")

    def _cancel(self, info: Any, id: str) -> bool:
        known = self._find(id)
        if known.status not in ("BUILDING", "DEPLOYING"):
            raise Refusal("Deployment is not in progress")
        known.status = "REMOVED"
        self.beneath.stop_release(known.release)
        return self._done("deploymentCancel")

    def _done(self, mutation: str) -> bool:
        if mutation in self.misbehaviour.fails_afterwards:
            raise Refusal("Problem processing request", extensions={"code": "INTERNAL_SERVER_ERROR"})
        return True

    def _begin(self, commit: str, variables: dict[str, str]) -> _Deployment:
        uid, version = str(uuid4()), self.version_of(commit)
        if not version:
            raise Refusal("Commit not found in the service's repository")
        before = self.beneath.read_variables()
        try:
            self.beneath.set_variables(variables)
            release = self.beneath.start_release(version, commit, uid)
        except RefusedByPlatform as error:
            raise Refusal(error.message) from None
        finally:
            self.beneath.set_variables(before)
        deployment = _Deployment(uid, release.id, commit, variables, _now())
        self._deployments.append(deployment)
        threading.Thread(target=self._bring_up, args=[deployment], daemon=True).start()
        return deployment

    def _bring_up(self, deployment: _Deployment) -> None:
        """It takes the traffic by itself, and what had it before is removed."""
        while (state := self._state_beneath(deployment)) == "starting":
            time.sleep(_LOOK_SECONDS)
        time.sleep(self.misbehaviour.healthy_seconds)
        with self._lock:
            if deployment.status == "REMOVED":
                return
            if state != "running":
                deployment.status = "FAILED"
                return
            before = self._live
            self.beneath.shift_traffic({deployment.release: 100})
            deployment.status, deployment.was_live = "SUCCESS", True
            self.shifts.append(deployment.commit)
            if before:
                before.status = "REMOVED"
        if before:
            self.beneath.stop_release(before.release)

    def _state_beneath(self, deployment: _Deployment) -> str:
        if deployment.status == "REMOVED":
            return "stopped"
        return next(one.state for one in self.beneath.read_releases() if one.id == deployment.release)

    def _find(self, uid: str) -> _Deployment:
        for one in self._deployments:
            if one.id == uid:
                return one
        raise Refusal("Deployment not found")

    def _may_return_to(self, deployment: _Deployment) -> bool:
        return deployment.was_live and self.misbehaviour.keeps_for_rollback

    def _shown(self, deployment: _Deployment) -> dict[str, Any]:
        urls = {one.id: one.url for one in self.beneath.read_releases()}
        return {
            "id": deployment.id,
            "status": deployment.status,
            "createdAt": deployment.created.isoformat(),
            "staticUrl": (urls.get(deployment.release) or "").removeprefix("http://") or None,
            "canRollback": self._may_return_to(deployment),
            "meta": {"commitHash": deployment.commit, "reason": "deploy"},
        }


def _require_ours(asked: dict[str, Any]) -> None:
    ours = {"projectId": PROJECT, "environmentId": ENVIRONMENT, "serviceId": SERVICE}
    if any(asked.get(name, value) != value for name, value in ours.items()):
        raise Refusal("Not Authorized")


def _refuse_everybody(info: Any, **asked: Any) -> Any:
    raise Refusal("Not Authorized")


def _now() -> datetime:
    return datetime.now(UTC)


@functools.cache
def railway_schema() -> GraphQLSchema:
    path = FOLDER / "railway.schema.graphql"
    if not path.exists():
        pytest.skip("no description of Railway beside the checkout, at ../shared/specs/railway.schema.graphql")
    return build_schema(path.read_text())


@contextmanager
def running_railway(beneath: Platform, version_of: Callable[[str], str]) -> Iterator[RailwayStandIn]:
    standing_in = RailwayStandIn(beneath, railway_schema(), version_of)
    with serving(standing_in.application()) as standing_in.url:
        yield standing_in
