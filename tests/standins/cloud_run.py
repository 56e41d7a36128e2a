"""A stand-in for Cloud Run's Admin API: it keeps state, and what it deploys really runs, in a sandbox beneath it.

Every request and every answer is held against Google's descriptions. It misbehaves on demand. What no description says
is assumed, as Knative has it: traffic moves only once all revisions that it names are ready, tagged ones too; what is
wanted and failed comes with the next change; an image that is not there makes a revision that fails. Also assumed: a
service that is scaled to no instance answers with 503, a revision becomes ready all the same, and the scaling becomes
what was asked for. Google says that it answers with an error, and that a revision without traffic is started by a
request to its own address. https://cloud.google.com/run/docs/configuring/services/manual-scaling
"""

import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from blocks.platforms.interface import Platform
from tests.standins.description import Sent
from tests.standins.discovery import NotDescribed, discovered
from tests.standins.google_token import GoogleTokens
from tests.standins.serving import serving

PROJECT, REGION, NAME = "shop-project", "europe-west1", "shop"
IMAGE = "europe-west1-docker.pkg.dev/shop-project/images/shop"
SERVICE = f"projects/{PROJECT}/locations/{REGION}/services/{NAME}"
FIRST = f"{NAME}-00001-abc"
"""The revision that a service is made with; it runs nowhere beneath."""
_TYPE = "TRAFFIC_TARGET_ALLOCATION_TYPE_"
_TYPES = [f"{_TYPE}{name}" for name in ("UNSPECIFIED", "LATEST", "REVISION")]
"""By their numbers, which Google's own clients send."""
_READY = {"starting": "CONDITION_RECONCILING", "running": "CONDITION_SUCCEEDED"}
_CHANGEABLE = {"template", "traffic", "annotations", "scaling"}
_MAPS = {"annotations", "labels"}
_DID_NOT_START = (
    "The user-provided container failed to start and listen on the port defined provided by the PORT=8080 environment"
    " variable within the allocated timeout."
)

Answer = tuple[int, Any]


class Refusal(Exception):
    def __init__(self, code: int, status: str, message: str) -> None:
        self.code, self.content = code, {"error": {"code": code, "status": status, "message": message}}


@dataclass
class Misbehaviour:
    seconds: float = 0.05
    """Until a change is made that has everything that it needs."""
    operation_error: str = ""
    """What the next change that is accepted ends with."""
    failed_answers: int = 0
    """So many of the next changes are answered with 500, and made."""
    lists_late: bool = False
    """The newest revision is not listed."""
    keeps_scaling: bool = False
    """Changes of the scaling are accepted, and come to nothing."""
    idle_seconds: float | None = None
    """After which the instances of a revision end that has lost its traffic. It stays ready. None: they stay."""
    changes_meanwhile: bool = False
    """Somebody else changes the service between the next look and what comes after it."""


@dataclass
class _Revision:
    template: dict[str, Any]
    release: str | None
    """Beneath."""
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    failure: str = ""
    had_traffic: bool = False
    """Or has it."""
    is_idle: bool = False
    """It is ready, and has no instance beneath."""


@dataclass
class CloudRunStandIn:
    beneath: Platform
    """Where the revisions run."""
    tokens: GoogleTokens
    images: Mapping[str, str]
    """Tag → commit: what the registry has."""
    misbehaviour: Misbehaviour = field(default_factory=Misbehaviour)
    violations: list[str] = field(default_factory=list)
    """Of the descriptions, by whoever asked or by this stand-in."""
    url: str = ""
    splits: list[dict[str, int]] = field(default_factory=list)
    """Beneath, one after the other."""
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """A service as it was made: all traffic to the latest revision."""
        with self._lock:
            self.misbehaviour = Misbehaviour()
            image = "us-docker.pkg.dev/cloudrun/container/hello"
            template = {"containers": [{"image": image, "ports": [{"containerPort": 8080}]}], "timeout": "300s"}
            self.spec: dict[str, Any] = {"template": template, "traffic": [], "annotations": {}, "scaling": {}}
            self._revisions = {FIRST: _Revision(template, None)}
            self._in_force = [{"type": _TYPE + "LATEST", "percent": 100}]
            self._latest = FIRST
            self._generation, self._observed = 1, 1
            self._failure = ""
            self._operations: dict[str, dict[str, Any]] = {}

    def forget_revisions(self, spare: str) -> None:
        """They end beneath, too; the first one stays. The spared one has all traffic."""
        with self._lock:
            for name in self._revisions.keys() - {spare, FIRST}:
                if release := self._revisions.pop(name).release:
                    self.beneath.stop_release(release)
            self.spec["traffic"] = [one for one in self.spec["traffic"] if one["revision"] == spare]
            self._in_force = [one for one in self._in_force if one.get("revision") == spare]

    def deploy_by_hand(self, tag: str) -> None:
        """Another image, as somebody does it who takes the rest of the template along."""
        with self._lock:
            template = self.template()
            template.pop("revision", None)
            template["containers"][0]["image"] = f"{IMAGE}:{tag}"
            self.spec["template"] = template
            self._add_revision(template)

    def add_secret_variable(self, name: str, secret: str) -> None:
        """To the template, as if it had been there from the beginning."""
        reference = {"name": name, "valueSource": {"secretKeyRef": {"secret": secret, "version": "latest"}}}
        self.spec["template"]["containers"][0].setdefault("env", []).append(reference)

    def template(self) -> dict[str, Any]:
        """The service's, as it is now."""
        found: dict[str, Any] = json.loads(json.dumps(self.spec["template"]))
        return found

    def application(self) -> Starlette:
        place = "/v2/projects/{project}/locations/{location}"
        routes = [
            ("GET", place + "/services/{service}", self._get_service),
            ("PATCH", place + "/services/{service}", self._patch_service),
            ("GET", place + "/services/{service}/revisions", self._list_revisions),
            ("GET", place + "/operations/{operation}", self._get_operation),
            ("POST", "/v2/entries:list", self._list_entries),
        ]
        return Starlette(routes=[Route(path, self._endpoint(act), methods=[verb]) for verb, path, act in routes])

    def _endpoint(self, act: Any) -> Any:
        async def answer(request: Request) -> Response:
            content = await request.body()
            sent = Sent(request.method, request.url.path, request.query_params, request.headers, content)
            status, answered = await run_in_threadpool(self._answer, act, request, sent)
            return JSONResponse(answered, status)

        return answer

    def _answer(self, act: Any, request: Request, sent: Sent) -> Answer:
        try:
            self._require_access(request)
            with self._lock:
                status, answered = act(request, json.loads(sent.content or b"{}"))
        except Refusal as refusal:
            status, answered = refusal.code, refusal.content
        answered = _without_defaults(answered)
        try:
            api = "google-logging-v2" if "entries" in sent.path else "google-run-v2"
            discovered(api).check(sent, status, json.dumps(answered).encode())
        except NotDescribed as error:
            self.violations.append(str(error))
        return status, answered

    def _require_access(self, request: Request) -> None:
        if not self.tokens.lets_in(request.headers.get("Authorization")):
            raise Refusal(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        wanted = {"project": PROJECT, "location": REGION, "service": NAME}
        if {**wanted, **request.path_params} != {**request.path_params, **wanted}:
            raise Refusal(404, "NOT_FOUND", f"Resource '{request.path_params['service']}' does not exist.")

    def _get_service(self, request: Request, asked: Any) -> Answer:
        shown = self._as_service()
        if self.misbehaviour.changes_meanwhile:
            self.misbehaviour.changes_meanwhile = False
            self._generation += 1
            self._observed = self._generation
        return 200, shown

    def _patch_service(self, request: Request, asked: Any) -> Answer:
        changes = {name: asked.get(name) for name in request.query_params["updateMask"].split(",")}
        if odd := changes.keys() - _CHANGEABLE:
            raise Refusal(400, "INVALID_ARGUMENT", f"The stand-in changes no {odd}.")
        if asked.get("etag", self._etag) != self._etag:
            raise Refusal(409, "ABORTED", "Conflict for resource 'shop': another version was specified.")
        for target in changes.get("traffic") or []:
            target["type"] = _TYPES[target["type"]] if isinstance(target.get("type"), int) else target.get("type")
        if self.misbehaviour.keeps_scaling:
            changes.pop("scaling", None)
        wanted = {**self.spec, **{name: one for name, one in changes.items() if one is not None}}
        made = self._add_revision(wanted["template"]) if wanted["template"] != self.spec["template"] else ""
        self._require_traffic(wanted["traffic"], made)
        self.spec, self._failure = wanted, ""
        self._generation += 1
        operation = f"projects/{PROJECT}/locations/{REGION}/operations/{uuid4()}"
        self._operations[operation] = {"name": operation, "done": False}
        threading.Thread(target=self._reconcile, args=(operation, self._generation, made), daemon=True).start()
        if self.misbehaviour.failed_answers:
            self.misbehaviour.failed_answers -= 1
            raise Refusal(500, "INTERNAL", "Internal error.")
        return 200, self._operations[operation]

    def _add_revision(self, template: dict[str, Any]) -> str:
        name = str(template.get("revision") or f"{NAME}-{len(self._revisions) + 1:05}-{uuid4().hex[:3]}")
        if name in self._revisions:
            raise Refusal(
                409, "ALREADY_EXISTS", f"Revision named '{name}' with different configuration already exists."
            )
        if not re.fullmatch(f"{NAME}-[a-z0-9-]{{1,50}}", name):
            raise Refusal(400, "INVALID_ARGUMENT", "Violation in template.revision: it must begin with the service's.")
        container = template["containers"][0]
        repository, _, tag = container["image"].partition(":")
        if repository != IMAGE or tag not in self.images:
            self._revisions[name] = _Revision(template, None, failure=f"Image '{container['image']}' not found.")
            return name
        env = {one["name"]: one.get("value", "a secret's") for one in container.get("env", [])}
        self.beneath.set_variables(env)
        release = self.beneath.start_release(tag, self.images[tag], f"{name}-{uuid4()}")
        self._revisions[name] = _Revision(template, release.id)
        return name

    def _require_traffic(self, traffic: list[dict[str, Any]], made: str) -> None:
        unknown = [one["revision"] for one in traffic if one.get("revision") and one["revision"] not in self._revisions]
        tags = [one["tag"] for one in traffic if one.get("tag")]
        percent = sum(one.get("percent", 0) for one in traffic)
        bad_tags = [one for one in tags if not re.fullmatch(r"[a-z][a-z0-9-]{0,40}", one)]
        if unknown or bad_tags or len(tags) > len(set(tags)) or (traffic and percent != 100):
            self._revisions.pop(made, None)
            raise Refusal(400, "INVALID_ARGUMENT", f"Violation in traffic: {unknown} {tags} {percent}.")

    def _reconcile(self, operation: str, generation: int, made: str) -> None:
        while made in self._revisions and self._state(made) == "starting":
            time.sleep(0.02)
        time.sleep(self.misbehaviour.seconds)
        with self._lock:
            told = self._operations.get(operation)
            if told is None:
                return
            if self._state(made or FIRST) == "running":
                self._latest = made or self._latest
            failed = [name for name in self._named() if self._state(name) != "running"]
            error = self.misbehaviour.operation_error or (f"Revision '{failed[0]}' is not ready." if failed else "")
            self.misbehaviour.operation_error = ""
            if error:
                told["error"] = {"code": 9, "message": error}
            elif generation == self._generation:
                self._put_in_force()
                told["response"] = {"@type": "type.googleapis.com/google.cloud.run.v2.Service", **self._as_service()}
            if generation == self._generation:
                self._failure, self._observed = error, generation
            told["done"] = True

    def _named(self) -> set[str]:
        return {str(one["revision"]) for one in self.spec["traffic"] if one.get("revision")}

    def _put_in_force(self) -> None:
        targets: list[dict[str, Any]] = self.spec["traffic"] or [{"type": _TYPE + "LATEST", "percent": 100}]
        self._in_force = targets
        split: dict[str | None, int] = {}
        for one in targets:
            name = self._latest if one["type"] == _TYPE + "LATEST" else one["revision"]
            release = self._revisions[name].release
            self._revisions[name].had_traffic |= bool(one.get("percent"))
            split[release] = split.get(release, 0) + one.get("percent", 0)
        shares = {release: percent for release, percent in split.items() if release and percent}
        if self.spec["scaling"].get("scalingMode") == "MANUAL" and not self.spec["scaling"]["manualInstanceCount"]:
            self.beneath.shift_traffic({})
        elif sum(shares.values()) == 100:
            self.beneath.shift_traffic(shares)
            self.splits.append(dict(shares))
        if self.misbehaviour.idle_seconds is not None:
            ending = threading.Timer(self.misbehaviour.idle_seconds, self._end_idle_instances)
            ending.daemon = True
            ending.start()

    def _end_idle_instances(self) -> None:
        """Nothing starts them again."""
        with self._lock:
            busy = {one.get("revision") for one in self._in_force if one.get("percent")}
            for name, revision in self._revisions.items():
                if revision.had_traffic and revision.release and name not in busy and not revision.is_idle:
                    revision.is_idle = True
                    self.beneath.stop_release(revision.release)

    def _list_revisions(self, request: Request, asked: Any) -> Answer:
        """Two a page, for somebody must turn it."""
        names = list(self._revisions)[: -1 if self.misbehaviour.lists_late else None]
        begin = int(request.query_params.get("pageToken", "0"))
        shown = [self._as_revision(name) for name in names[begin : begin + 2]]
        more = str(begin + 2) if begin + 2 < len(names) else ""
        return 200, {"revisions": shown, "nextPageToken": more}

    def _get_operation(self, request: Request, asked: Any) -> Answer:
        name = f"projects/{PROJECT}/locations/{REGION}/operations/{request.path_params['operation']}"
        if name not in self._operations:
            raise Refusal(404, "NOT_FOUND", "There is no such operation.")
        return 200, self._operations[name]

    def _list_entries(self, request: Request, asked: Any) -> Answer:
        """The newest first, as it was asked for."""
        labels = dict(re.findall(r'resource\.labels\.(\w+)="([^"]*)"', asked["filter"]))
        revision = self._revisions.get(labels["revision_name"])
        if asked["resourceNames"] != [f"projects/{PROJECT}"] or asked["orderBy"] != "timestamp desc" or not revision:
            return 200, {"entries": []}
        lines = self.beneath.read_logs(revision.release, asked["pageSize"]) if revision.release else []
        resource = {"type": "cloud_run_revision", "labels": labels}
        log = f"projects/{PROJECT}/logs/run.googleapis.com%2Fstdout"
        now = datetime.now(UTC).isoformat()
        about = {"logName": log, "resource": resource, "timestamp": now, "receiveTimestamp": now}
        entries = [{**about, "insertId": uuid4().hex, "textPayload": f"{line}\n"} for line in reversed(lines)]
        return 200, {"entries": entries}

    def _state(self, name: str) -> str:
        revision = self._revisions[name]
        if revision.release is None or revision.is_idle:
            return "failed" if revision.failure else "running"
        found = next(one for one in self.beneath.read_releases() if one.id == revision.release)
        if found.state == "failed":
            revision.failure = _DID_NOT_START
        return found.state

    @property
    def _etag(self) -> str:
        return f'"of-generation-{self._generation}"'

    def _as_service(self) -> dict[str, Any]:
        reconciling = self._observed < self._generation
        state = "CONDITION_RECONCILING" if reconciling else "CONDITION_SUCCEEDED"
        return {
            "name": SERVICE,
            "uid": "service-of-the-shop",
            "generation": str(self._generation),
            "observedGeneration": str(self._observed),
            "etag": self._etag,
            "createTime": self._revisions[FIRST].created.isoformat(),
            "ingress": "INGRESS_TRAFFIC_ALL",
            "launchStage": "GA",
            "uri": "https://shop-abc-ew.a.run.app",
            **self.spec,
            "trafficStatuses": [self._as_status(one) for one in self._in_force],
            "latestReadyRevision": f"{SERVICE}/revisions/{self._latest}",
            "latestCreatedRevision": f"{SERVICE}/revisions/{list(self._revisions)[-1]}",
            "reconciling": reconciling,
            "terminalCondition": {
                "type": "Ready",
                "state": "CONDITION_FAILED" if self._failure else state,
                "message": self._failure,
            },
        }

    def _as_status(self, target: dict[str, Any]) -> dict[str, Any]:
        revision = self._revisions.get(target.get("revision", ""))
        if not target.get("tag") or not revision or not revision.release:
            return target
        found = next(one for one in self.beneath.read_releases() if one.id == revision.release)
        return {**target, "uri": found.url or f"http://127.0.0.1:9/{target['tag']}"}

    def _as_revision(self, name: str) -> dict[str, Any]:
        revision, state = self._revisions[name], self._state(name)
        ready = {"type": "Ready", "state": _READY.get(state, "CONDITION_FAILED"), "message": revision.failure}
        return {
            "name": f"{SERVICE}/revisions/{name}",
            "uid": f"revision-{name}",
            "generation": "1",
            "createTime": revision.created.isoformat(),
            "service": NAME,
            "annotations": revision.template.get("annotations", {}),
            "labels": revision.template.get("labels", {}),
            "containers": revision.template["containers"],
            "conditions": [{"type": "ContainerReady", "state": "CONDITION_SUCCEEDED"}, ready],
            "reconciling": state == "starting",
        }


def _without_defaults(content: Any) -> Any:
    """As Google writes JSON: what has its default is left out, but for the values of a map."""
    if isinstance(content, list):
        return [_without_defaults(one) for one in content]
    if not isinstance(content, dict):
        return content
    shown = {name: one if name in _MAPS else _without_defaults(one) for name, one in content.items()}
    return {name: one for name, one in shown.items() if one not in ("", 0, False, None, [], {})}


@contextmanager
def running_cloud_run(beneath: Platform, tokens: GoogleTokens, images: Mapping[str, str]) -> Iterator[CloudRunStandIn]:
    discovered("google-run-v2"), discovered("google-logging-v2")
    standing_in = CloudRunStandIn(beneath, tokens, images)
    with serving(standing_in.application()) as standing_in.url:
        yield standing_in
