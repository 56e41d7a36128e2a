"""The Docker platform keeps the contract, on a real engine and behind a real Caddy."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import docker
import httpx
import pytest

from blocks.errors import RefusedByPlatform, Unreachable
from blocks.platforms.caddy import CaddyRoute
from blocks.platforms.docker import DockerPlatform
from blocks.platforms.docker_engine import ADDRESS, RELEASE
from tests.blocks.platforms.builds import Build, git
from tests.blocks.platforms.contract import PlatformContract, Subject, ask
from tests.blocks.platforms.engine import (
    REPOSITORY,
    ROUTE,
    own_ports,
    remove_containers,
)
from tests.blocks.platforms.waiting import eventually

pytestmark = pytest.mark.timeout(120)

KEPT_IN_LINE = Path("/proc/sys/net/ipv4/tcp_migrate_req")


@pytest.fixture
def subject(engine: str, caddy: tuple[str, str], builds: list[Build]) -> Iterator[Subject]:
    admin, site = caddy
    platform = DockerPlatform(
        service="stub",
        image=REPOSITORY,
        pull=False,
        engine=engine,
        network="host",
        ports=own_ports(),
        grace_seconds=5,
        caddy=CaddyRoute(url=admin, route=ROUTE),
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        nobody = CaddyRoute(url=f"http://127.0.0.1:{port}", route=ROUTE)
        silent = platform.model_copy(update={"engine": f"tcp://127.0.0.1:{port}", "caddy": nobody, "timeout": 0.3})
        good, better, broken = builds
        yield Subject(platform, site, good, better, broken, silent)
    platform.set_maintenance("")
    platform.set_variables({})
    platform.shift_traffic({})
    remove_containers(engine)


class TestContract(PlatformContract):
    @pytest.fixture
    def subject(self, subject: Subject) -> Subject:
        return subject


def test_the_answer_over_http_1_is_the_last_one_of_its_connection(subject: Subject) -> None:
    subject.platform.shift_traffic({subject.start(subject.good).id: 100})

    with httpx.Client(base_url=subject.address, timeout=20, trust_env=False) as client:
        assert client.get("/").headers.get_list("Connection") == ["close"]
        upgrading = {"Connection": "Upgrade", "Upgrade": "websocket"}
        assert client.get("/", headers=upgrading).headers.get_list("Connection") == [], "what is upgraded goes on"


@pytest.mark.skipif(
    not KEPT_IN_LINE.exists() or KEPT_IN_LINE.read_text().strip() != "1",
    reason="net.ipv4.tcp_migrate_req is not 1 on this machine",
)
def test_no_request_is_cut_off_however_often_the_traffic_is_shifted(subject: Subject) -> None:
    old, new = subject.start(subject.good).id, subject.start(subject.better).id
    subject.platform.shift_traffic({old: 100})
    over = threading.Event()

    def visit() -> int:
        visits = 0
        again = httpx.HTTPTransport(retries=1)  # only a connection that was refused: nothing had been sent
        with httpx.Client(base_url=subject.address, timeout=20, transport=again) as client:
            while not over.is_set():
                client.post("/").raise_for_status()
                visits += 1
        return visits

    with ThreadPoolExecutor(6) as pool:
        visitors = [pool.submit(visit) for _ in range(6)]
        try:
            for share in range(1, 61):
                subject.platform.shift_traffic({old: 100 - share, new: share})
        finally:
            over.set()
        assert min(visitor.result() for visitor in visitors) > 0


def test_a_container_that_was_made_and_never_started_is_taken_away_with_its_release(
    subject: Subject, engine: str
) -> None:
    """Whoever makes one and dies before he starts it leaves it like that."""
    release = subject.start(subject.good)
    with closing(docker.APIClient(base_url=engine, version="auto", timeout=60)) as api:
        (running,) = api.containers(filters={"label": f"{RELEASE}={release.id}"})
        labels = {**running["Labels"], RELEASE: "half-made", ADDRESS: "127.0.0.1:1"}
        api.create_container(running["Image"], labels=labels, name="half-made")
        assert subject.read("half-made").state == "starting"

        subject.platform.stop_release("half-made")

        assert [one["State"] for one in api.containers(all=True)] == ["running"]
    assert [one.id for one in subject.platform.read_releases()] == [release.id]


def test_one_that_the_engine_is_making_already_is_not_made_twice(subject: Subject, engine: str) -> None:
    """While it makes one, for a call that was given up, it lists none; but its name is taken."""
    asked = (subject.good.version, subject.good.commit, "run-1")
    release = subject.platform.start_release(*asked)
    with closing(docker.APIClient(base_url=engine, version="auto", timeout=60)) as api:
        (made,) = api.containers(filters={"label": f"{RELEASE}={release.id}"})
        api.remove_container(made["Id"], force=True)
        name = made["Names"][0].lstrip("/")
        api.create_container(made["Image"], name=name)

        with pytest.raises(Unreachable, match=f"is making {name} already"):
            subject.platform.start_release(*asked)

        api.remove_container(name)
    assert subject.platform.start_release(*asked).id == release.id


class TestBuilding:
    """Of what a repository's commit holds, on an image that the engine has."""

    @pytest.fixture
    def platform(self, subject: Subject, tmp_path: Path) -> DockerPlatform:
        assert isinstance(subject.platform, DockerPlatform)
        return subject.platform.model_copy(update={"build_from": str(tmp_path)})

    def test_an_image_that_is_not_there_is_built_of_the_commit_and_runs(
        self, subject: Subject, platform: DockerPlatform, tmp_path: Path
    ) -> None:
        commit = commit_files(
            tmp_path, Dockerfile=f"FROM {REPOSITORY}:{subject.good.version}\nCOPY VERSION /srv/\n", VERSION="v3.0.0"
        )
        (tmp_path / "VERSION").write_text("not committed")

        started = platform.start_release("v3.0.0", commit, "run")

        eventually(lambda: subject.read(started.id).state == "running")
        assert ask(subject.read(started.id)) == "v3.0.0"

    def test_one_that_cannot_be_built_is_refused_with_the_reason(
        self, subject: Subject, platform: DockerPlatform, tmp_path: Path
    ) -> None:
        commit = commit_files(tmp_path, Dockerfile=f"FROM {REPOSITORY}:{subject.good.version}\nCOPY missing /srv/\n")
        with pytest.raises(RefusedByPlatform, match=r"v3\.0\.1 could not be built: .*missing"):
            platform.start_release("v3.0.1", commit, "run")
        with pytest.raises(RefusedByPlatform):
            platform.start_release("v3.0.1", "0" * 40, "run")
        assert platform.read_releases() == []


def commit_files(repository: Path, **files: str) -> str:
    for name, content in files.items():
        (repository / name).write_text(content)
    for arguments in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "of the test"]):
        git(repository, *arguments)
    return git(repository, "rev-parse", "HEAD")
