"""The sandbox daemons, engine and Caddy that the tests deploy to."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from blocks.platforms.sandbox import SandboxPlatform
from deployments.sandbox.config import TOKEN_VARIABLE
from tests.blocks.platforms.builds import Build, make_builds
from tests.blocks.platforms.contract import Subject
from tests.blocks.platforms.daemon import TOKEN, Daemon
from tests.blocks.platforms.engine import import_stubs, require_engine, running_caddy, running_engine


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("repository") / "stub"


@pytest.fixture(scope="session")
def builds(repository: Path) -> list[Build]:
    return make_builds(repository, "v1.0.0", "v1.1.0", "v1.2.0-broken")


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory, repository: Path, builds: list[Build]) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("sandbox") / "folder", repository)
    yield daemon
    daemon.end()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, builds: list[Build]) -> Iterator[str]:
    require_engine()
    folder = tmp_path_factory.mktemp("engine")
    with running_engine(folder) as address:
        import_stubs(address, builds, folder)
        yield address


@pytest.fixture(scope="module")
def caddy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    require_engine()
    with running_caddy(tmp_path_factory.mktemp("caddy")) as addresses:
        yield addresses


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)


@pytest.fixture
def subject(daemon: Daemon, builds: list[Build]) -> Iterator[Subject]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent = SandboxPlatform(
            url=f"http://127.0.0.1:{listener.getsockname()[1]}", token=f"${{{TOKEN_VARIABLE}}}", timeout=0.3
        )
        good, better, broken = builds
        yield Subject(daemon.platform, daemon.front, good, better, broken, silent)
    daemon.platform.shift_traffic({})
    daemon.platform.set_variables({})
    for release in daemon.platform.read_releases():
        if release.state in ("starting", "running"):
            daemon.platform.stop_release(release.id)


@pytest.fixture
def own(tmp_path: Path, repository: Path, builds: list[Build]) -> Iterator[Daemon]:
    """A daemon that the test may kill."""
    daemon = Daemon(tmp_path / "folder", repository, start_timeout=3)
    yield daemon
    daemon.end()
