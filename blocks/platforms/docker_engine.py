"""A Docker engine's containers of one service, and its errors in our words."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from blocks.errors import RefusedByPlatform, Unreachable
from blocks.reference import resolve

if TYPE_CHECKING:
    from docker import APIClient

SERVICE, RELEASE, VERSION, COMMIT, RUN, SINCE, ADDRESS = (
    f"backstop.{name}" for name in ("service", "release", "version", "commit", "run", "since", "address")
)
"""Labels of a container."""

_LEAVING = ".leaving"
_LOOK = "Look whether the engine runs, and whether this user may use its socket."


class Container(NamedTuple):
    id: str
    name: str
    state: str
    """`created`, `running`, `restarting`, `paused`, `exited`, `removing` or `dead`."""
    labels: dict[str, str]

    @property
    def address(self) -> str:
        """`host:port` where it answers; kept over a restart of the engine."""
        return self.labels[ADDRESS]

    @property
    def since(self) -> datetime:
        """When its release was started first."""
        return datetime.fromisoformat(self.labels[SINCE])

    @property
    def was_started(self) -> bool:
        return self.state != "created"

    @property
    def has_ended(self) -> bool:
        """The engine starts what crashes again: only what somebody stopped has ended."""
        return self.state in ("exited", "removing", "dead")

    @property
    def leaves(self) -> bool:
        """It was told to stop, and finishes its requests."""
        return self.name.endswith(_LEAVING) and not self.has_ended


@contextmanager
def engine_at(address: str, seconds: float) -> Iterator["APIClient"]:
    """Raises Unreachable or RefusedByPlatform for whatever goes wrong inside."""
    import docker  # takes a tenth of a second, which only who uses an engine should wait
    import requests
    import urllib3  # whose own errors come out of a stream

    named = f"The Docker engine at {address}"
    try:
        client = _client(resolve(address), seconds)
        try:
            yield client
        finally:
            client.close()
    except docker.errors.APIError as error:
        if error.is_client_error():
            raise RefusedByPlatform(f"{named} refused: {_words(error)}.", "It changed nothing.") from None
        raise Unreachable(f"{named} failed: {_words(error)}.", _LOOK) from None
    except (requests.exceptions.Timeout, urllib3.exceptions.ReadTimeoutError):
        raise Unreachable(f"{named} did not answer within {seconds:g} s.", _LOOK) from None
    except (
        docker.errors.DockerException,
        docker.errors.StreamParseError,
        requests.exceptions.RequestException,
        urllib3.exceptions.HTTPError,
    ) as error:
        raise Unreachable(f"{named} cannot be reached ({type(error).__name__}).", _LOOK) from None


def _client(address: str, seconds: float) -> "APIClient":
    """The SDK lets a pull or a build that falls silent take for ever."""
    import docker

    class Client(docker.APIClient):  # type: ignore[misc]
        def send(self, request: Any, **how: Any) -> Any:
            return super().send(request, **{**how, "timeout": how.get("timeout") or seconds})

    return Client(base_url=address, version="auto", timeout=seconds)


def read_containers(engine: "APIClient", **labels: str) -> list[Container]:
    """All with these labels, ended ones too. `service="shop"` is the label `backstop.service=shop`."""
    wanted = [f"backstop.{name}={value}" for name, value in labels.items()] or [SERVICE]
    found = engine.containers(all=True, filters={"label": wanted})
    return [Container(one["Id"], one["Names"][0].lstrip("/"), one["State"], one["Labels"]) for one in found]


def make(engine: "APIClient", config: dict[str, Any], name: str) -> None:
    """A container that is not started. Raises Unreachable where a call that was given up is still making it."""
    import docker

    try:
        engine.create_container_from_config(config, name)
    except docker.errors.APIError as error:
        if error.status_code == HTTPStatus.CONFLICT:
            raise Unreachable(f"The Docker engine is making {name} already.", _LOOK) from None
        raise


def mark_as_leaving(engine: "APIClient", container: Container) -> None:
    """Its name tells it, so that whoever looks next knows, also after the death of who stops it."""
    if not container.name.endswith(_LEAVING):
        engine.rename(container.id, container.name + _LEAVING)


def read_restarts(engine: "APIClient", container: Container) -> int:
    return int(engine.inspect_container(container.id)["RestartCount"])


def read_lines(engine: "APIClient", container: Container, lines: int) -> list[str]:
    """The newest ones, oldest first."""
    written: bytes = engine.logs(container.id, tail=lines)
    return written.decode(errors="replace").splitlines()


def tell_to_stop(engine: "APIClient", container: Container, grace: int, seconds: float) -> None:
    """Returns when it has ended, or after `seconds`: the engine goes on, and kills it after `grace` seconds."""
    import requests

    address = f"{engine.base_url}/v{engine.api_version}/containers/{container.id}/stop"
    try:
        answer = engine.post(address, params={"t": grace}, timeout=seconds)
    except requests.exceptions.Timeout:
        return
    if not answer.ok:
        raise Unreachable(f"The Docker engine failed to stop {container.name}: {answer.status_code}.")


def _words(error: Any) -> str:
    return str(error.explanation or error.response.reason).strip().rstrip(".")[:300]
