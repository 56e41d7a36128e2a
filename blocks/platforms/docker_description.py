"""How the containers of a release are made, in the engine's own words: what is the same for each of its replicas."""

import hashlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from blocks.errors import RefusedByPlatform
from blocks.platforms.docker_engine import Container

if TYPE_CHECKING:
    from docker import APIClient

_OF_A_RELEASE = (
    *("Cmd", "Entrypoint", "User", "WorkingDir", "Hostname", "Domainname", "StopSignal", "Tty", "OpenStdin"),
    "Healthcheck",
)
_ID_LENGTH = 12
"""Of the part of a container's id that is its host name where it was given none."""


class Description(NamedTuple):
    """Image, name, labels, ports, restarts and `PORT` are a container's own, and stand nowhere here."""

    config: dict[str, Any]
    """Fields of `POST /containers/create`."""
    host: dict[str, Any]
    """Its `HostConfig`; `NetworkMode` is the network that a container is made in."""
    networks: list[str]
    """What it joins besides, before it is started."""
    environment: dict[str, str]
    """Where the platform's variables say nothing else."""
    left_out: dict[str, str]
    """What somebody wrote that is not done → why."""

    @property
    def is_on_host(self) -> bool:
        return bool(self.host["NetworkMode"] == "host")

    @property
    def fingerprint(self) -> str:
        """Without the values of variables: a secret may change between a plan and its approval, and shall not leak."""
        told = json.dumps([self.config, self.host, self.networks, sorted(self.environment)], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:8]

    def require_parts(self, engine: "APIClient") -> None:
        """Raises RefusedByPlatform where the engine lacks a network or a volume: it would make an empty one."""
        import docker

        looks = {("network", name): engine.inspect_network for name in (self.host["NetworkMode"], *self.networks)}
        looks |= {
            ("volume", mount["Source"]): engine.inspect_volume
            for mount in self.host.get("Mounts") or []
            if mount["Type"] == "volume" and "Source" in mount
        }
        for (kind, name), look in looks.items():
            try:
                look(name)
            except docker.errors.NotFound:
                raise RefusedByPlatform(
                    f"The engine has no {kind} {name}.",
                    f"Bring the compose project up once, or make it: `docker {kind} create`. Nothing was changed.",
                ) from None


def read_description(engine: "APIClient", container: Container) -> Description:
    """Of a container that is there: another one that is made like that is its replica."""
    inspected = engine.inspect_container(container.id)
    config, host = inspected["Config"], inspected["HostConfig"]
    own = {name: config[name] for name in _OF_A_RELEASE if config.get(name)}
    if own.get("Hostname") == container.id[:_ID_LENGTH]:
        del own["Hostname"]
    joined = [name for name in inspected["NetworkSettings"]["Networks"] if name != host["NetworkMode"]]
    return Description(own, host, joined, {}, {})


def start(engine: "APIClient", container: Container, networks: list[str]) -> None:
    """Whoever made it may have died before it had joined them all."""
    joined = engine.inspect_container(container.id)["NetworkSettings"]["Networks"]
    for network in networks:
        if network not in joined:
            engine.connect_container_to_network(container.id, network)
    engine.start(container.id)
