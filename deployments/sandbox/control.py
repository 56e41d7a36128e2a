"""The control API: JSON, a bearer token on everything but /ready.

GET  /ready
GET  /releases                  GET  /releases/{id}       POST /releases {version, commit, run_id}
POST /releases/{id}/scale {replicas}                      POST /releases/{id}/stop {wait}
GET  /releases/{id}/logs?lines= GET  /disk
GET  /traffic   PUT /traffic {split}
GET  /variables PUT /variables {variables}
GET  /maintenance  PUT /maintenance {by}

A refusal is {"error": message} with 401, 404, 409, 413 or 422.
"""

import hmac
import shutil
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.sandbox.logs import read_tail
from deployments.sandbox.refusals import Refusal
from deployments.sandbox.routes import Backend
from deployments.sandbox.sandbox import Sandbox
from deployments.sandbox.state import Release

_LONGEST_BODY = 1024 * 1024


def _must_add_up(split: dict[str, int]) -> dict[str, int]:
    if split and sum(split.values()) != 100:
        raise ValueError(f"the percentages add up to {sum(split.values())}, not to 100")
    return split


Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
Value = Annotated[str, Field(max_length=32_000, pattern="^[^\x00]*$")]
Percent = Annotated[StrictInt, Field(ge=1, le=100)]
Split = Annotated[dict[str, Percent], AfterValidator(_must_add_up)]
Asked = TypeVar("Asked", bound="_Body")


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Start(_Body):
    version: str
    commit: str = Field(pattern="^([0-9a-f]{40}|[0-9a-f]{64})$")
    run_id: str = Field(max_length=100, pattern="^[A-Za-z0-9._:-]*$")
    """Empty: not asked for by a run, and a new release each time."""


class Scale(_Body):
    replicas: Annotated[StrictInt, Field(ge=1, le=20)]


class Stop(_Body):
    wait: float | None = Field(None, ge=0)
    """Seconds after which to answer while it goes on stopping; unbounded when absent."""


class Traffic(_Body):
    split: Split


class Variables(_Body):
    variables: dict[Name, Value]


class Maintenance(_Body):
    by: str = Field(max_length=100, pattern="^[A-Za-z0-9._:-]*$")
    """Whoever wants visitors refused; empty: nobody."""


class Control:
    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.ready = False

    async def read_ready(self, request: Request) -> Response:
        environment = self._sandbox.config.environment
        return JSONResponse({"ready": self.ready, "environment": environment}, 200 if self.ready else 503)

    async def read_releases(self, request: Request) -> Response:
        newest_first = reversed(self._sandbox.state.releases.values())
        return JSONResponse({"releases": [self._shown(release) for release in newest_first]})

    async def read_release(self, request: Request) -> Response:
        return JSONResponse(self._shown(self._sandbox.read_release(request.path_params["id"])))

    async def start_release(self, request: Request) -> Response:
        asked = await _read(request, Start)
        release = await self._sandbox.start_release(asked.version, asked.commit, asked.run_id)
        return JSONResponse(self._shown(release), 201)

    async def scale_release(self, request: Request) -> Response:
        asked = await _read(request, Scale)
        release = await self._sandbox.scale_release(request.path_params["id"], asked.replicas)
        return JSONResponse(self._shown(release))

    async def stop_release(self, request: Request) -> Response:
        asked = await _read(request, Stop)
        await self._sandbox.stop_release(request.path_params["id"], asked.wait)
        return Response(status_code=204)

    async def read_logs(self, request: Request) -> Response:
        release = self._sandbox.read_release(request.path_params["id"])
        lines = _lines(request.query_params.get("lines", "50"))
        path = self._sandbox.folder / "logs" / f"{release.id}.log"
        return JSONResponse({"lines": read_tail(path, lines)})

    async def read_disk(self, request: Request) -> Response:
        return JSONResponse({"free_bytes": shutil.disk_usage(self._sandbox.folder).free})

    async def read_traffic(self, request: Request) -> Response:
        return JSONResponse({"split": self._sandbox.state.traffic})

    async def shift_traffic(self, request: Request) -> Response:
        await self._sandbox.shift_traffic((await _read(request, Traffic)).split)
        return await self.read_traffic(request)

    async def read_variables(self, request: Request) -> Response:
        return JSONResponse({"variables": self._sandbox.state.variables})

    async def set_variables(self, request: Request) -> Response:
        variables = (await _read(request, Variables)).variables
        if "PORT" in variables:
            raise Refusal(422, "the variable PORT is the sandbox's own")
        await self._sandbox.set_variables(variables)
        return await self.read_variables(request)

    async def read_maintenance(self, request: Request) -> Response:
        return JSONResponse({"by": self._sandbox.state.maintenance})

    async def set_maintenance(self, request: Request) -> Response:
        await self._sandbox.set_maintenance((await _read(request, Maintenance)).by)
        return await self.read_maintenance(request)

    def _shown(self, release: Release) -> dict[str, object]:
        backends = [Backend(release.id, replica.port) for replica in release.replicas]
        ready = sum(replica.ready for replica in release.replicas)
        detail = release.detail
        if release.stopping:
            detail = "being stopped"
        elif release.state == "running" and ready != release.wanted:
            detail = f"{ready} of {release.wanted} replicas answer"
        return {
            "id": release.id,
            "version": release.version,
            "commit": release.commit,
            "state": release.state,
            "url": f"http://127.0.0.1:{backends[0].port}" if backends else None,
            "replicas": release.wanted if release.alive else 0,
            "started_by": release.run_id,
            "created_at": release.created_at.isoformat(),
            "detail": detail,
            "under_way": sum(map(self._sandbox.routes.under_way, backends)),
        }


def control_api(control: Control, token: str) -> ASGIApp:
    """The application; everything but /ready needs the token."""
    routes: list[tuple[str, str, Callable[[Request], Awaitable[Response]]]] = [
        ("GET", "/ready", control.read_ready),
        ("GET", "/releases", control.read_releases),
        ("POST", "/releases", control.start_release),
        ("GET", "/releases/{id}", control.read_release),
        ("POST", "/releases/{id}/scale", control.scale_release),
        ("POST", "/releases/{id}/stop", control.stop_release),
        ("GET", "/releases/{id}/logs", control.read_logs),
        ("GET", "/disk", control.read_disk),
        ("GET", "/traffic", control.read_traffic),
        ("PUT", "/traffic", control.shift_traffic),
        ("GET", "/variables", control.read_variables),
        ("PUT", "/variables", control.set_variables),
        ("GET", "/maintenance", control.read_maintenance),
        ("PUT", "/maintenance", control.set_maintenance),
    ]
    app = Starlette(
        routes=[Route(path, endpoint, methods=[method]) for method, path, endpoint in routes],
        exception_handlers={Refusal: _refused, HTTPException: _not_found},
    )
    expected = f"Bearer {token}".encode()

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        given = dict(scope["headers"]).get(b"authorization", b"")
        if scope["path"] == "/ready" or hmac.compare_digest(given, expected):
            await app(scope, receive, send)
        else:
            await _error(401, "the token is missing or wrong")(scope, receive, send)

    return guarded


async def _read(request: Request, asked: type[Asked]) -> Asked:
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > _LONGEST_BODY:
            raise Refusal(413, f"longer than {_LONGEST_BODY} bytes")
    try:
        return asked.model_validate_json(b"".join(parts) or b"{}")
    except ValidationError as error:
        raise Refusal(422, _explain(error)) from None


def _explain(error: ValidationError) -> str:
    """Where and why; never the value, which may be a secret."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in found)[:1000]


def _lines(text: str) -> int:
    try:
        return TypeAdapter(Annotated[int, Field(ge=1, le=1000)]).validate_python(text)
    except ValidationError:
        raise Refusal(422, "lines must be a whole number from 1 to 1000") from None


def _error(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status)


async def _refused(request: Request, error: Any) -> Response:
    return _error(error.status, error.message)


async def _not_found(request: Request, error: Any) -> Response:
    return _error(error.status_code, error.detail)
