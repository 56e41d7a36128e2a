"""Releases as containers of a Docker engine, behind a Caddy that shifts traffic by percent."""

import hashlib
import json
import re
import socket
import time
from collections.abc import Iterator, Set
from contextlib import contextmanager
from datetime import UTC, datetime
from math import prod
from typing import TYPE_CHECKING, Annotated, Literal, Self
from uuid import uuid4

import httpx
from pydantic import Field, field_validator, model_validator

from blocks.errors import RefusedByPlatform
from blocks.platforms.caddy import CaddyRoute, Routing
from blocks.platforms.compose import ComposeService
from blocks.platforms.docker_description import Description, read_description, start
from blocks.platforms.docker_engine import (
    ADDRESS,
    COMMIT,
    RELEASE,
    RUN,
    SERVICE,
    SINCE,
    VERSION,
    Container,
    engine_at,
    make,
    mark_as_leaving,
    read_containers,
    read_lines,
    read_restarts,
    tell_to_stop,
)
from blocks.platforms.docker_images import REPOSITORY, Images
from blocks.platforms.interface import Capability, Platform, Release, Split
from blocks.reference import EngineAddress

if TYPE_CHECKING:
    from docker import APIClient

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_VARIABLES, _GENERATION = "backstop.variables", "backstop.generation"
"""Labels of a volume that holds nothing: the engine keeps them, and they need no image."""
Port = Annotated[int, Field(ge=1, le=65535)]
State = Literal["starting", "running", "stopped", "failed"]
_ANSWER_SECONDS = 1.0
_STOP_SHARE = 0.8
"""Part of the timeout that a stop may use for waiting, so that its answer is still in time."""


class DockerPlatform(Platform):
    """A release is a group of containers of one image, found again by their labels.

    The engine starts what crashes again, and all after its own restart, at the same addresses.
    """

    _block_type_name = "Docker platform"
    _block_type_slug = "docker-platform"
    _description = "Releases as containers of a Docker engine, behind a Caddy that shifts traffic by percent."

    vendor: Literal["docker"] = Field(
        "docker", description="Whose platform it is: a saved block is read again as what it was."
    )
    service: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,40}$", description="Its containers' label, and what their names begin with."
    )
    image: str = Field(
        pattern=REPOSITORY, description="Repository of its images, as registry.example.com/shop. A version is a tag."
    )
    pull: bool = Field(True, description="Whether an image that the engine does not have is pulled.")
    build_from: str = Field(
        "", description="Folder of a git repository that it is built of instead; may be a reference; empty: none."
    )
    dockerfile: str = Field("Dockerfile", min_length=1, description="Path in that repository.")
    pull_seconds: float = Field(600, gt=0, description="How long pulling or building may take.")
    command: list[str] = Field(default_factory=list, description="Instead of the image's own.")
    compose: ComposeService | None = Field(
        None, description="Service of a compose project that says how its containers are made; `network`, too."
    )
    engine: EngineAddress = Field("unix:///var/run/docker.sock", description="Address of the engine.")
    network: str = Field("bridge", min_length=1, description="Its containers' network: `host`, or one that exists.")
    host: str = Field("127.0.0.1", description="Where the containers' ports are published.")
    port: int = Field(8000, ge=1, le=65535, description="Where the service listens inside. With `host`: `PORT` says.")
    ports: tuple[Port, Port] = Field((20000, 20999), description="First and last port to publish at.")
    init: bool = Field(True, description="Whether the engine's own init passes signals on to the service.")
    grace_seconds: int = Field(60, ge=0, description="How long a stopped container may finish its requests.")
    caddy: CaddyRoute = Field(description="The Caddy that users reach the service by.")
    timeout: float = Field(10, gt=0, le=3600, description="Seconds that one call may take, but for pulling an image.")

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset(Capability)

    @field_validator("ports")
    @classmethod
    def _rise(cls, ports: tuple[int, int]) -> tuple[int, int]:
        if ports[0] > ports[1]:
            raise ValueError("must be the first one and then the last one, as [20000, 20999]")
        return ports

    @model_validator(mode="after")
    def _said_once(self) -> Self:
        if self.compose and (self.command or self.network != "bridge"):
            raise ValueError("with `compose`, neither `command` nor `network` is said here: its service says them")
        return self

    def read_releases(self) -> list[Release]:
        with self._engine() as engine:
            groups: dict[str, list[Container]] = {}
            for container in read_containers(engine, service=self.service):
                groups.setdefault(container.labels[RELEASE], []).append(container)
            releases = [self._read_release(engine, group) for group in groups.values()]
        return sorted(releases, key=lambda release: release.created_at, reverse=True)

    def read_traffic(self) -> Split:
        shares = self.caddy.read(self.timeout).shares
        if not shares:
            return {}
        with self._engine() as engine:
            releases = {
                one.address: one.labels[RELEASE]
                for one in read_containers(engine, service=self.service)
                if not one.has_ended
            }
        split: dict[str, int] = {}
        for address, share in shares.items():
            release = releases.get(address, f"somebody else's {address}")
            split[release] = split.get(release, 0) + share
        return {release: round(100 * share / sum(shares.values())) for release, share in split.items()}

    def read_free_disk(self) -> int | None:
        """The engine does not tell."""
        return None

    def read_logs(self, release_id: str, lines: int = 50) -> list[str]:
        with self._engine() as engine:
            containers = read_containers(engine, service=self.service, release=release_id)
            return read_lines(engine, containers[0], lines) if containers else []

    def start_release(self, version: str, commit: str, run_id: str) -> Release:
        digest = hashlib.sha256(f"{run_id}\n{version}\n{commit}".encode()).hexdigest()[:10]
        release_id = f"{self.service}-{version}-{digest}"
        with self._engine() as engine:
            self._images.require(engine, version, commit)
            description = self._describe(engine)
            if not read_containers(engine, service=self.service, release=release_id):
                labels = {
                    SERVICE: self.service,
                    RELEASE: release_id,
                    VERSION: version,
                    COMMIT: commit,
                    RUN: run_id,
                    SINCE: datetime.now(UTC).isoformat(),
                }
                self._make(engine, labels, 1, description)
            self._start(engine, release_id, description)
            return self._begun(read_containers(engine, service=self.service, release=release_id))

    def describe_start(self) -> str:
        if self.compose is None:
            return ""
        project, described = self.compose.read(self.timeout)
        with self._engine() as engine:
            described.require_parts(engine)
        made = f"Containers are made as {self.compose.service} of the compose project {project}"
        left_out = "; ".join(f"{key} ({why})" for key, why in sorted(described.left_out.items()))
        return f"{made} ({described.fingerprint}). Left out: {left_out}."

    def shift_traffic(self, split: Split) -> None:
        routing = self.caddy.read(self.timeout)
        releases = {release.id: release for release in self.read_releases()}
        _require_whole(split, releases)
        with self._engine() as engine:
            self._route(engine, routing, self._shares(engine, split))

    def stop_release(self, release_id: str) -> None:
        deadline = time.monotonic() + self.timeout * _STOP_SHARE
        if release_id in self.read_traffic():
            raise RefusedByPlatform(f"{release_id} has traffic.", "Shift it away first. Nothing was changed.")
        with self._engine() as engine:
            for container in self._active(engine, release_id):
                if not container.was_started:  # whoever made it died before that
                    engine.remove_container(container.id)
            active = self._active(engine, release_id)
            for container in active:
                mark_as_leaving(engine, container)
            self._wait_until_idle({container.address for container in active}, deadline)
            for container in active:
                left = max(deadline - time.monotonic(), 0.2)
                tell_to_stop(engine, container, self.grace_seconds, left)

    def scale_release(self, release_id: str, replicas: int) -> None:
        if replicas < 1:
            raise RefusedByPlatform("A release has one replica or more.", "Stop it instead. Nothing was changed.")
        traffic = self.read_traffic()
        with self._engine() as engine:
            known = read_containers(engine, service=self.service, release=release_id)
            if not known:
                raise RefusedByPlatform(f"There is no release {release_id}.", "Nothing was changed.")
            active = [one for one in known if not one.has_ended and not one.leaves]
            description = self._describe_again(engine, known)
            self._make(engine, known[0].labels, replicas - len(active), description)
            self._start(engine, release_id, description)
            surplus = [one for one in known if one.has_ended] + active[replicas:]
            if release_id in traffic:
                leaving = {one.id for one in surplus}
                self._route(engine, self.caddy.read(self.timeout), self._shares(engine, traffic, leaving))
            for container in surplus:
                if not container.has_ended:
                    self._wait_until_idle({container.address}, time.monotonic() + self.timeout * _STOP_SHARE)
                    tell_to_stop(engine, container, self.grace_seconds, self.timeout)
                engine.remove_container(container.id)

    def read_maintenance(self) -> str:
        return self.caddy.read(self.timeout).maintenance

    def set_maintenance(self, by: str) -> None:
        self.caddy.write(self.caddy.read(self.timeout)._replace(maintenance=by), self.timeout)

    def read_variables(self) -> dict[str, str]:
        with self._engine() as engine:
            return self._variables(engine)

    def set_variables(self, variables: dict[str, str]) -> None:
        for name, value in variables.items():
            if not _NAME.fullmatch(name) or "\0" in value:
                raise RefusedByPlatform(f"A variable cannot be called or hold that: {name!r}.", "Nothing was changed.")
        with self._engine() as engine:
            volumes = self._variable_volumes(engine)
            newest = max((int(volume["Labels"][_GENERATION]) for volume in volumes), default=0)
            labels = {SERVICE: self.service, _VARIABLES: json.dumps(variables), _GENERATION: str(newest + 1)}
            engine.create_volume(f"{self.service}-variables-{uuid4()}", labels=labels)
            for volume in volumes:
                engine.remove_volume(volume["Name"])

    @property
    def _images(self) -> Images:
        return Images(
            engine=self.engine,
            repository=self.image,
            pull=self.pull,
            build_from=self.build_from,
            dockerfile=self.dockerfile,
            seconds=self.pull_seconds,
        )

    @contextmanager
    def _engine(self) -> Iterator["APIClient"]:
        with engine_at(self.engine, self.timeout) as engine:
            yield engine

    def _read_release(self, engine: "APIClient", group: list[Container]) -> Release:
        active = [one for one in group if not one.has_ended]
        if not active:
            return _release(group, "stopped")
        if answering := [one for one in active if _answers(one.address)]:
            silent = len(active) - len(answering)
            detail = f"{silent} of {len(active)} do not answer" if silent else ""
            if any(one.leaves for one in active):
                detail = "being stopped"
            return _release(group, "running", len(active), f"http://{answering[0].address}", detail)
        for one in active:
            if one.state == "restarting" or read_restarts(engine, one):
                return _release(group, "failed", detail="\n".join(read_lines(engine, one, 10)))
        return self._begun(group)

    def _begun(self, group: list[Container]) -> Release:
        return _release(group, "starting", len([one for one in group if not one.has_ended]))

    def _active(self, engine: "APIClient", release_id: str) -> list[Container]:
        containers = read_containers(engine, service=self.service, release=release_id)
        return [one for one in containers if not one.has_ended]

    def _shares(self, engine: "APIClient", split: Split, without: Set[str] = frozenset()) -> dict[str, int]:
        """Address → share: each release's percent, divided evenly among its containers."""
        addresses = {
            release: [one.address for one in self._active(engine, release) if one.id not in without and not one.leaves]
            for release in split
        }
        common = prod(map(len, addresses.values()))
        return {
            address: split[release] * common // len(found) for release, found in addresses.items() for address in found
        }

    def _route(self, engine: "APIClient", before: Routing, shares: dict[str, int]) -> None:
        """What has no share any more is kept in Caddy's sight until its container has ended."""
        alive = {one.address for one in read_containers(engine, service=self.service) if not one.has_ended}
        leaving = ({*before.shares, *before.leaving} & alive) - shares.keys()
        self.caddy.write(before._replace(shares=shares, leaving=frozenset(leaving)), self.timeout)

    def _describe(self, engine: "APIClient") -> Description:
        """How the containers of the next release are made."""
        if self.compose:
            _, described = self.compose.read(self.timeout)
            described.require_parts(engine)
            return described._replace(host={"Init": self.init, **described.host})
        config = {"Cmd": self.command} if self.command else {}
        return Description(config, {"NetworkMode": self.network, "Init": self.init}, [], {}, {})

    def _describe_again(self, engine: "APIClient", known: list[Container]) -> Description:
        """Made as its release was, whatever says today how the next one is; but with the environment of now."""
        described = read_description(engine, next((one for one in known if one.was_started), known[0]))
        if self.compose:
            return described._replace(environment=self.compose.read(self.timeout)[1].environment)
        return described

    def _make(self, engine: "APIClient", labels: dict[str, str], replicas: int, description: Description) -> None:
        """So many containers more, not started, with the variables of now."""
        variables = {**description.environment, **self._variables(engine)}
        for _ in range(replicas):
            port = self._free_port(engine)
            inside = port if description.is_on_host else self.port
            bindings = {f"{inside}/tcp": [{"HostIp": self.host, "HostPort": str(port)}]}
            published = {} if description.is_on_host else bindings
            environment = {**variables, "PORT": str(inside)}
            config = {
                **description.config,
                "Image": f"{self.image}:{labels[VERSION]}",
                "Labels": {**labels, ADDRESS: f"{self.host}:{port}"},
                "Env": [f"{name}={value}" for name, value in environment.items()],
                "ExposedPorts": {exposed: {} for exposed in published},
                "HostConfig": {
                    **description.host,
                    "PortBindings": published,
                    "RestartPolicy": {"Name": "unless-stopped"},
                },
            }
            make(engine, config, f"{labels[RELEASE]}-{port}")

    def _start(self, engine: "APIClient", release_id: str, description: Description) -> None:
        """Those of its containers that were made only."""
        for container in read_containers(engine, service=self.service, release=release_id):
            if not container.was_started:
                start(engine, container, description.networks)

    def _free_port(self, engine: "APIClient") -> int:
        first, last = self.ports
        used = {int(one.address.rpartition(":")[2]) for one in read_containers(engine)}
        for port in range(first, last + 1):
            if port not in used and not _is_taken(self.host, port):
                return port
        raise RefusedByPlatform(f"No port from {first} to {last} is free.", "Widen `ports`. Nothing was changed.")

    def _variables(self, engine: "APIClient") -> dict[str, str]:
        volumes = self._variable_volumes(engine)
        newest = max(volumes, key=lambda volume: int(volume["Labels"][_GENERATION]), default=None)
        return dict(json.loads(newest["Labels"][_VARIABLES])) if newest else {}

    def _variable_volumes(self, engine: "APIClient") -> list[dict[str, dict[str, str]]]:
        filters = {"label": [f"{SERVICE}={self.service}", _VARIABLES]}
        return engine.volumes(filters=filters)["Volumes"] or []

    def _wait_until_idle(self, addresses: set[str], deadline: float) -> None:
        """Until no request is under way there. Who still has some at the deadline finishes them within its grace."""
        while time.monotonic() < deadline:
            under_way = self.caddy.count_requests(self.timeout)
            if not any(under_way.get(address) for address in addresses):
                return
            time.sleep(0.05)


def _release(
    group: list[Container], state: State, replicas: int = 0, url: str | None = None, detail: str = ""
) -> Release:
    labels = group[0].labels
    return Release(
        id=labels[RELEASE],
        version=labels[VERSION],
        commit=labels[COMMIT],
        state=state,
        url=url,
        replicas=replicas,
        started_by=labels[RUN],
        created_at=group[0].since,
        detail=detail,
    )


def _require_whole(split: Split, releases: dict[str, Release]) -> None:
    if split and (sum(split.values()) != 100 or min(split.values()) < 1):
        raise RefusedByPlatform(f"The percentages are not whole parts of 100: {split}.", "Nothing was changed.")
    for release in split:
        if release not in releases or releases[release].state != "running":
            state = releases[release].state if release in releases else "unknown"
            raise RefusedByPlatform(f"{release} cannot have traffic: it is {state}.", "Nothing was changed.")


def _answers(address: str) -> bool:
    """Whether somebody answers there, however slowly. That the port is open says nothing: the engine opens it, too."""
    try:
        with httpx.stream("GET", f"http://{address}/", timeout=_ANSWER_SECONDS, trust_env=False):
            return True  # without what it answers, which may have no end
    except httpx.ReadTimeout:
        return True
    except httpx.HTTPError:
        return False


def _is_taken(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(_ANSWER_SECONDS)
        return probe.connect_ex((host, port)) == 0
