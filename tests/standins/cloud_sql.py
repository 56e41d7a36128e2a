"""A stand-in for Cloud SQL's Admin API: instances of one project with their operations, users and backups.

Every request and every answer is held against Google's description. A clone is what is beneath: a real server where a
test has one. It misbehaves on demand. Assumed, as no description says it: how what is not there, or is there already,
is refused; that the operation of a clone is listed as one on the clone.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import uuid4

from starlette.requests import Request

from tests.standins.discovery import Discovery
from tests.standins.google_token import GoogleTokens
from tests.standins.standing_in import Act, Answer, Refusal, StandIn, served

PROJECT, INSTANCE = "shop-project", "shop-db"
_ON_ONE_PAGE = 2


class Beneath(Protocol):
    """What instances really are."""

    address: str
    """Of the first one."""

    def clone(self, name: str, at: datetime) -> str:
        """Its address, when it answers."""

    def set_password(self, name: str, user: str, password: str) -> None: ...


@dataclass
class Kept:
    """An instance."""

    address: str = ""
    state: str = "RUNNABLE"
    tier: str = "db-custom-1-3840"
    version: int = 1
    backups: list[dict[str, Any]] = field(default_factory=list)


class CloudSqlStandIn(StandIn):
    def __init__(self, tokens: GoogleTokens, description: Discovery | None, beneath: Beneath) -> None:
        super().__init__(description)
        self.beneath = beneath
        self.goes_on = threading.Event()
        """Operations end only while it is set."""
        self.forget()
        self._tokens = tokens

    def forget(self) -> None:
        """One instance, as it was made."""
        self.instances = {INSTANCE: Kept(self.beneath.address)}
        self.operations: list[dict[str, Any]] = []
        """Oldest first."""
        self.operation_error = ""
        """With which the next one ends, having done nothing."""
        self.points_in_time = True
        self.earliest = datetime.now(UTC) - timedelta(days=7)
        self.denied = False
        """The account may nothing."""
        self.goes_on.set()
        self.trouble.clear()
        self.asked.clear()

    @property
    def clones(self) -> list[str]:
        return [name for name in self.instances if name != INSTANCE]

    def begun(self, kind: str) -> int:
        """How many operations of that type."""
        return len([one for one in self.operations if one["operationType"] == kind])

    def routes(self) -> list[tuple[str, str, Act]]:
        project = f"/v1/projects/{PROJECT}"
        one = f"{project}/instances/{{instance}}"
        routes: list[tuple[str, str, Act]] = [
            ("GET", f"{project}/instances", self._list),
            ("GET", one, lambda request, _: (200, self._shown(self._name(request)))),
            ("PATCH", one, self._patch),
            ("POST", f"{one}/clone", self._clone),
            ("POST", f"{one}/restart", self._restart),
            ("GET", f"{one}/getLatestRecoveryTime", self._window),
            ("GET", f"{one}/users", self._users),
            ("PUT", f"{one}/users", self._set_password),
            ("GET", f"{one}/backupRuns", self._backups),
            ("POST", f"{one}/backupRuns", self._back_up),
            ("GET", f"{project}/operations", self._list_operations),
            ("GET", f"{project}/operations/{{operation}}", self._operation),
        ]
        return [(verb, path, self._for_those_let_in(act)) for verb, path, act in routes]

    def _for_those_let_in(self, act: Act) -> Act:
        def answer(request: Request, asked: Any) -> Answer:
            if not self._tokens.lets_in(request.headers.get("Authorization")):
                raise _refusal(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
            if self.denied:
                raise _refusal(403, "PERMISSION_DENIED", "The client is not authorized to make this request.")
            return act(request, asked)

        return answer

    def _name(self, request: Request) -> str:
        name = str(request.path_params["instance"])
        if name not in self.instances:
            raise _refusal(404, "NOT_FOUND", "The Cloud SQL instance does not exist.")
        return name

    def _shown(self, name: str) -> dict[str, Any]:
        kept = self.instances[name]
        addresses = [{"type": "PRIVATE", "ipAddress": kept.address}] if kept.address else []
        return {
            "kind": "sql#instance",
            "name": name,
            "project": PROJECT,
            "state": kept.state,
            "databaseVersion": "POSTGRES_16",
            "connectionName": f"{PROJECT}:europe-west1:{name}",
            "ipAddresses": [{"type": "OUTGOING", "ipAddress": "203.0.113.7"}, *addresses],
            "settings": {
                "tier": kept.tier,
                "settingsVersion": str(kept.version),
                "backupConfiguration": {"enabled": True, "pointInTimeRecoveryEnabled": self.points_in_time},
            },
            **({"replicaNames": ["shop-db-replica"]} if name == INSTANCE else {}),
        }

    def _list(self, request: Request, asked: Any) -> Answer:
        return self._page(request, "sql#instancesList", [self._shown(name) for name in self.instances])

    def _page(self, request: Request, kind: str, items: list[dict[str, Any]]) -> Answer:
        first = int(request.query_params.get("pageToken", "0"))
        rest = first + _ON_ONE_PAGE
        more = {"nextPageToken": str(rest)} if rest < len(items) else {}
        shown = {"items": items[first:rest]} if items else {}
        return 200, {"kind": kind, **shown, **more}

    def _window(self, request: Request, asked: Any) -> Answer:
        self._name(request)
        if not self.points_in_time:
            raise _refusal(400, "INVALID_ARGUMENT", "Point in time recovery is not enabled for the instance.")
        times = {"earliestRecoveryTime": self.earliest, "latestRecoveryTime": datetime.now(UTC)}
        return 200, {"kind": "sql#getLatestRecoveryTime", **{name: _told(at) for name, at in times.items()}}

    def _clone(self, request: Request, asked: Any) -> Answer:
        self._name(request)
        context = asked["cloneContext"]
        name, at = context["destinationInstanceName"], datetime.fromisoformat(context["pointInTime"])
        if name in self.instances:
            raise _refusal(409, "ALREADY_EXISTS", "The Cloud SQL instance already exists.")
        if not self.points_in_time or not self.earliest <= at <= datetime.now(UTC):
            raise _refusal(400, "INVALID_ARGUMENT", "The point in time cannot be recovered.")
        clone = self.instances[name] = Kept(state="PENDING_CREATE")

        def make() -> None:
            clone.address, clone.state = self.beneath.clone(name, at), "RUNNABLE"

        return self._begin("CLONE", name, make, lambda: setattr(clone, "state", "FAILED"))

    def _restart(self, request: Request, asked: Any) -> Answer:
        return self._begin("RESTART", self._name(request), lambda: None)

    def _patch(self, request: Request, asked: Any) -> Answer:
        kept, settings = self.instances[self._name(request)], asked["settings"]
        if settings["settingsVersion"] != str(kept.version):
            raise _refusal(412, "FAILED_PRECONDITION", "The settings were changed by somebody else.")

        def change() -> None:
            kept.tier, kept.version = settings["tier"], kept.version + 1

        return self._begin("UPDATE", self._name(request), change)

    def _users(self, request: Request, asked: Any) -> Answer:
        name = self._name(request)
        user = {"kind": "sql#user", "name": "postgres", "instance": name, "project": PROJECT}
        return 200, {"kind": "sql#usersList", "items": [user]}

    def _set_password(self, request: Request, asked: Any) -> Answer:
        name, user = self._name(request), request.query_params["name"]
        return self._begin("UPDATE_USER", name, lambda: self.beneath.set_password(name, user, asked["password"]))

    def _backups(self, request: Request, asked: Any) -> Answer:
        return self._page(request, "sql#backupRunsList", self.instances[self._name(request)].backups[::-1])

    def _back_up(self, request: Request, asked: Any) -> Answer:
        name = self._name(request)
        backups = self.instances[name].backups
        run = {"kind": "sql#backupRun", "id": f"{len(backups) + 1}", "instance": name, "status": "RUNNING", **asked}
        backups.append(run)
        failed = {"status": "FAILED", "error": {"code": "INTERNAL", "message": "disk is gone"}}
        return self._begin("BACKUP_VOLUME", name, lambda: run.update(status="SUCCESSFUL"), lambda: run.update(failed))

    def _begin(
        self, kind: str, target: str, act: Callable[[], None], fail: Callable[[], None] = lambda: None
    ) -> Answer:
        operation: dict[str, Any] = {
            "kind": "sql#operation",
            "name": str(uuid4()),
            "operationType": kind,
            "status": "PENDING",
            "targetId": target,
            "targetProject": PROJECT,
            "insertTime": _told(datetime.now(UTC)),
        }
        self.operations.append(operation)
        error, self.operation_error = self.operation_error, ""

        def carry_out() -> None:
            self.goes_on.wait()
            operation["status"] = "RUNNING"
            if error:
                fail()
                told = {"kind": "sql#operationError", "code": "INTERNAL_ERROR", "message": error}
                operation["error"] = {"kind": "sql#operationErrors", "errors": [told]}
            else:
                act()
            operation["status"] = "DONE"

        shown = dict(operation)
        threading.Thread(target=carry_out, daemon=True).start()
        return 200, shown

    def _list_operations(self, request: Request, asked: Any) -> Answer:
        about = request.query_params["instance"]
        found = [one for one in reversed(self.operations) if one["targetId"] == about]
        return self._page(request, "sql#operationsList", found)

    def _operation(self, request: Request, asked: Any) -> Answer:
        wanted = request.path_params["operation"]
        found = [one for one in self.operations if one["name"] == wanted]
        if not found:
            raise _refusal(404, "NOT_FOUND", "The Cloud SQL operation does not exist.")
        return 200, dict(found[0])


def _told(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}Z"


def _refusal(code: int, status: str, message: str) -> Refusal:
    return Refusal(code, {"error": {"code": code, "status": status, "message": message}})


@contextmanager
def running_cloud_sql(
    tokens: GoogleTokens, description: Discovery | None, beneath: Beneath
) -> Iterator[CloudSqlStandIn]:
    """In the end all calls were as Google describes them."""
    with served(standing_in := CloudSqlStandIn(tokens, description, beneath)):
        try:
            yield standing_in
        finally:
            standing_in.goes_on.set()
    assert standing_in.violations == []
