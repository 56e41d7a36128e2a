"""A PostgreSQL that Google runs. https://cloud.google.com/sql/docs/postgres/admin-api/rest/v1

What is asked for is answered before it is done, as an operation; one that is done may have failed. Whatever was asked
and not answered is looked for before it is asked again: a clone by its name, a backup by its description, a restart by
its operation. Nothing here deletes or overwrites an instance: Google's restore of a backup does, so it is not used.
"""

import re
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from blocks.errors import RefusedByPlatform, Unreachable
from blocks.google_access import GoogleAccess
from blocks.reference import Address, Secret
from blocks.vendor_api import VendorApi

Shape = TypeVar("Shape")
Show = Callable[[float], None]
"""Told now and then how many seconds an operation has taken."""

_ADDRESS_TYPES = {"private": "PRIVATE", "public": "PRIMARY"}
_CLONING = ("CLONE", "CREATE_CLONE", "CREATE")
_LEAST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0
"""Seconds between two looks at an operation: more and more, as a clone takes many minutes."""
_PAGE = "500"


class NoSuchInstance(RefusedByPlatform):
    """There is no instance of that name, or the service account may not see it."""


class _Error(BaseModel):
    code: str = ""
    message: str = ""


class _Errors(BaseModel):
    errors: list[_Error] = []


class Operation(BaseModel):
    name: str
    operationType: str = ""
    status: str = ""
    error: _Errors | None = None

    @property
    def is_done(self) -> bool:
        return self.status == "DONE"


class _Ip(BaseModel):
    type: str = ""
    ipAddress: str = ""


class _Backups(BaseModel):
    pointInTimeRecoveryEnabled: bool = False


class _Settings(BaseModel):
    tier: str = ""
    settingsVersion: str | None = None
    backupConfiguration: _Backups = _Backups()


class SqlInstance(BaseModel):
    """As far as it is used here."""

    name: str
    state: str = ""
    databaseVersion: str = ""
    ipAddresses: list[_Ip] = []
    settings: _Settings = _Settings()
    replicaNames: list[str] = []

    @property
    def recovers_to_points(self) -> bool:
        return self.settings.backupConfiguration.pointInTimeRecoveryEnabled

    def address(self, ip: str) -> str:
        """Its `private` or `public` one; empty where it has none."""
        return next((one.ipAddress for one in self.ipAddresses if one.type == _ADDRESS_TYPES[ip]), "")


class Window(NamedTuple):
    """The points in time to which an instance can be cloned."""

    earliest: datetime
    latest: datetime


class _BackupRun(BaseModel):
    id: str
    status: str = ""
    description: str = ""
    error: _Error | None = None


class CloudSql(BaseModel):
    """The Cloud SQL instance that the database is on, and the clones that Backstop made of it."""

    model_config = ConfigDict(extra="forbid")

    project: str = Field(pattern=r"^[a-z][a-z0-9:.-]{4,62}[a-z0-9]$", description="Id of the Google Cloud project.")
    instance: str = Field(pattern=r"^[a-z][a-z0-9-]{0,60}$", description="Name of the instance that `url` leads to.")
    credentials: Secret = Field(description="Reference to the key (JSON) of a service account: ${NAME} or file:/PATH.")
    ip: Literal["private", "public"] = Field(
        "private", description="Of a clone's addresses the one at which application and worker reach it."
    )
    operation_seconds: float = Field(
        3600, gt=0, le=86_400, description="Seconds that Google may take for one operation; cloning is the longest."
    )
    url: Address = Field("https://sqladmin.googleapis.com", description="Address of Cloud SQL's API.")
    timeout: float = Field(30, gt=0, le=120, description="Seconds that one call may take.")

    def clone_name(self, run_id: str) -> str:
        """What a run calls its clone: nobody else gives that name."""
        return f"{self.instance}-b-{run_id.replace('-', '')[:10]}"

    def is_clone(self, name: str) -> bool:
        """Whether a run gave that name."""
        return re.fullmatch(rf"{re.escape(self.instance)}-b-[0-9a-f]{{10}}", name) is not None

    def read_instance(self, name: str) -> SqlInstance:
        """Raises NoSuchInstance, RefusedByPlatform or Unreachable, as all that follow do."""
        return self._parsed(SqlInstance, self._api.call("GET", self._path(name)))

    def find_instance(self, name: str) -> SqlInstance | None:
        try:
            return self.read_instance(name)
        except NoSuchInstance:
            return None

    def read_clones(self) -> list[SqlInstance]:
        """Those that runs made, of this instance or of its clones."""
        listed = self._items(SqlInstance, f"/v1/projects/{self.project}/instances")
        return [one for one in listed if self.is_clone(one.name)]

    def read_window(self, name: str) -> Window:
        answer = self._api.call("GET", f"{self._path(name)}/getLatestRecoveryTime")
        times = self._parsed(dict[str, Any], answer)
        found = (times.get("earliestRecoveryTime"), times.get("latestRecoveryTime"))
        return Window(*(self._api.shaped(datetime, one) for one in found))

    def count_users(self, name: str) -> int:
        return len(self._parsed(dict[str, Any], self._api.call("GET", f"{self._path(name)}/users")).get("items", []))

    def clone(self, source: str, name: str, at: datetime, show: Show) -> SqlInstance:
        """As the source was then, under a new name. A clone of that name is waited for, and never made again."""
        operation = self._newest(name, _CLONING) if self.find_instance(name) else self._begin_clone(source, name, at)
        if operation:
            self._wait(operation, f"clone {source} as {name}", show)
        made = self.read_instance(name)
        if made.state != "RUNNABLE" or not made.address(self.ip):
            address = made.address(self.ip) or f"no {self.ip} IP address"
            raise RefusedByPlatform(
                f"The clone {name} is {made.state or 'in no state'}, with {address}.", "Look at it in Google's console."
            )
        return made

    def _begin_clone(self, source: str, name: str, at: datetime) -> Operation | None:
        context = {"destinationInstanceName": name, "pointInTime": _told(at)}
        try:
            return self._begin("POST", f"{self._path(source)}/clone", json={"cloneContext": context})
        except RefusedByPlatform:  # an earlier call, which nobody saw an answer to, may have made it since
            if self.find_instance(name) is None:
                raise
            return self._newest(name, _CLONING)

    def back_up(self, name: str, label: str, show: Show) -> str:
        """On demand; its id. One of that label, unique to the caller, is waited for, and never made again."""
        run = self._find_backup(name, label)
        if run is None:
            backup = {"description": label, "type": "ON_DEMAND"}
            operation = self._begin("POST", f"{self._path(name)}/backupRuns", json=backup)
            self._wait(operation, f"back up {name}", show)
        elif operations := self._under_way(name, ("BACKUP_VOLUME", "BACKUP")):
            self._wait(operations[0], f"back up {name}", show)
        run = self._find_backup(name, label)
        if run is None or run.status != "SUCCESSFUL":
            reason = (run.error.message if run.error else run.status) if run else "there is none of that label"
            raise RefusedByPlatform(f"Cloud SQL made no backup of {name}: {reason}.", "Nothing else was changed.")
        return run.id

    def restart(self, name: str, show: Show) -> None:
        """All sessions end. A restart that is under way already is waited for, and is the one that was asked for."""
        operations = self._under_way(name, ("RESTART",)) or [self._begin("POST", f"{self._path(name)}/restart")]
        self._wait(operations[0], f"restart {name}", show)

    def set_tier(self, name: str, tier: str, show: Show) -> None:
        """Its machine type, as db-custom-1-3840. Google restarts the instance for it. It may be asked for twice."""
        if operations := self._under_way(name, ("UPDATE",)):
            self._wait(operations[0], f"change {name}", show)
        settings = self.read_instance(name).settings
        if settings.tier == tier:
            return
        changed = {"tier": tier, "settingsVersion": settings.settingsVersion}
        operation = self._begin("PATCH", self._path(name), json={"settings": changed})
        self._wait(operation, f"change {name} to {tier}", show)

    def set_password(self, name: str, user: str, password: str) -> None:
        """It may be asked for twice."""
        path, content = f"{self._path(name)}/users", {"password": password}
        operation = self._begin("PUT", path, [password], params={"name": user}, json=content)
        self._wait(operation, f"set the password of {user} on {name}", lambda _: None, password)

    def _begin(self, method: str, path: str, private: Iterable[str] = (), **content: Any) -> Operation:
        return self._parsed(Operation, self._api.call(method, path, private, **content))

    def _wait(self, operation: Operation, what: str, show: Show, private: str = "") -> None:
        """A look that is not answered changes nothing. Raises RefusedByPlatform when it failed, or takes too long.

        What is private is not quoted.
        """
        began = time.monotonic()
        while not operation.is_done:
            elapsed = time.monotonic() - began
            if elapsed > self.operation_seconds:
                raise RefusedByPlatform(
                    f"Cloud SQL did not {what} within {self.operation_seconds:g} s (operation {operation.name}).",
                    "It goes on at Google. Look at it in its console.",
                )
            show(elapsed)
            time.sleep(min(_LONGEST_PAUSE, _LEAST_PAUSE + elapsed / 20))
            try:
                answer = self._api.call("GET", f"/v1/projects/{self.project}/operations/{operation.name}")
                operation = self._parsed(Operation, answer)
            except Unreachable:
                continue
        if operation.error:
            reasons = "; ".join(f"{one.code}: {one.message}" for one in operation.error.errors) or "no reason given"
            reasons = reasons.replace(private, "…") if private else reasons
            raise RefusedByPlatform(
                f"Cloud SQL could not {what}: {reasons[:500]} (operation {operation.name}).",
                "Look at the operation in Google's console.",
            )

    def _under_way(self, name: str, types: tuple[str, ...]) -> list[Operation]:
        return [one for one in self._operations(name) if one.operationType in types and not one.is_done]

    def _newest(self, name: str, types: tuple[str, ...]) -> Operation | None:
        return next((one for one in self._operations(name) if one.operationType in types), None)

    def _operations(self, name: str) -> Iterator[Operation]:
        """On the instance, newest first."""
        return self._items(Operation, f"/v1/projects/{self.project}/operations", instance=name)

    def _find_backup(self, name: str, label: str) -> _BackupRun | None:
        runs = self._items(_BackupRun, f"{self._path(name)}/backupRuns")
        return next((one for one in runs if one.description == label), None)

    def _items(self, shape: type[Shape], path: str, **query: str) -> Iterator[Shape]:
        """Of all pages."""
        token = ""
        while True:
            asked = {**query, "maxResults": _PAGE, **({"pageToken": token} if token else {})}
            page = self._parsed(dict[str, Any], self._api.call("GET", path, params=asked))
            for one in page.get("items", []):
                yield self._api.shaped(shape, one)
            token = page.get("nextPageToken", "")
            if not token:
                return

    def _parsed(self, shape: type[Shape], answer: Any) -> Shape:
        return self._api.parsed(shape, answer)

    def _path(self, name: str) -> str:
        return f"/v1/projects/{self.project}/instances/{name}"

    @property
    def _api(self) -> VendorApi:
        return VendorApi(
            named="Cloud SQL",
            url=self.url,
            token=GoogleAccess(self.credentials, self.timeout),
            seconds=self.timeout,
            look="Look at Google Cloud's status page, and whether the address of its API is right.",
            unauthorized="Give the service account the permissions that docs/environment-file.md names.",
            read_reason=lambda refusal: refusal["error"]["message"],
            missing=NoSuchInstance,
        )


def _told(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
