"""Releases that are made as a compose project says, on the project's own network: read by the real `docker compose`."""

import socket
import sysconfig
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import docker
import pytest
import yaml
from pydantic import ValidationError

from blocks.errors import RefusedByPlatform
from blocks.platforms import compose
from blocks.platforms.caddy import CaddyRoute
from blocks.platforms.compose import ComposeService
from blocks.platforms.docker import DockerPlatform
from blocks.platforms.docker_engine import RELEASE
from tests.blocks.platforms.builds import Build
from tests.blocks.platforms.composed import EVERYWHERE, PORT, PROJECT, Fields, Project, require_networks
from tests.blocks.platforms.contract import PlatformContract, Subject, ask
from tests.blocks.platforms.engine import REPOSITORY, ROUTE, own_ports, remove_containers
from tests.blocks.platforms.waiting import eventually

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def project(engine: str, builds: list[Build], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    require_networks(engine)
    project = Project(tmp_path_factory.mktemp("project"), engine, builds[0].version)
    try:
        project.run("create", "--pull=never")
        project.run("rm", "--force", "web")
        yield project
    finally:
        project.run("down", "--volumes", "--timeout=1")


@pytest.fixture
def subject(engine: str, caddy: tuple[str, str], project: Project, builds: list[Build]) -> Iterator[Subject]:
    admin, site = caddy
    platform = DockerPlatform(
        service="stub",
        image=REPOSITORY,
        pull=False,
        engine=engine,
        compose=project.service,
        port=PORT,
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
    project.write()
    platform.set_maintenance("")
    platform.set_variables({})
    platform.shift_traffic({})
    remove_containers(engine, label=RELEASE)


@pytest.mark.drill
class TestContract(PlatformContract):
    @pytest.fixture
    def subject(self, subject: Subject) -> Subject:
        return subject


def inspect(engine: str, label: str) -> Fields:
    with closing(docker.APIClient(base_url=engine, version="auto", timeout=60)) as api:
        (found,) = api.containers(all=True, filters={"label": label})
        inspected: Fields = api.inspect_container(found["Id"])
        return inspected


def test_a_release_reaches_the_other_services_of_the_project_by_their_names(subject: Subject, project: Project) -> None:
    project.run("start", "db")

    release = subject.start(subject.better)

    assert ask(release, "/neighbour/db") == subject.good.version
    assert ask(release, "/variable/GREETING") == "of the project"


def test_whoever_dies_before_a_container_has_joined_all_its_networks_finds_it_again(
    subject: Subject, project: Project, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    project.write(networks=["default", "back"])
    with monkeypatch.context() as dying:
        dying.setattr(docker.APIClient, "connect_container_to_network", die)
        with pytest.raises(KeyboardInterrupt):
            subject.start(subject.good, run_id="run-that-dies")

    release = subject.start(subject.good, run_id="run-that-dies")

    joined = inspect(engine, f"{RELEASE}={release.id}")["NetworkSettings"]["Networks"]
    assert set(joined) == {f"{PROJECT}_default", f"{PROJECT}_back"}


def test_the_platforms_variables_stand_above_the_projects(subject: Subject) -> None:
    subject.platform.set_variables({"GREETING": "of the platform"})
    assert ask(subject.start(subject.good), "/variable/GREETING") == "of the platform"


RICH: Fields = {
    "command": ["{command}", "-u", "-m", "stub"],
    "user": "0:1000",  # what the image holds may be root's alone
    "working_dir": "/srv",
    "hostname": "web",
    "read_only": True,
    "init": True,
    "stop_signal": "SIGINT",
    "cap_drop": ["CAP_NET_RAW"],
    "cap_add": ["CAP_SYS_NICE"],
    "security_opt": ["no-new-privileges:true"],
    "environment": {"LISTEN": EVERYWHERE, "PRICE": "5 $$", "EMPTY": ""},
    "extra_hosts": ["mail.example.com:127.0.0.1"],
    "dns": ["127.0.0.1"],
    "healthcheck": {"test": "true", "interval": "1m30s", "timeout": "1.5s", "retries": 3, "start_period": "5s"},
    "tmpfs": ["/run:size=64k"],
    "ulimits": {"nofile": {"soft": 1000, "hard": 2000}},
    "logging": {"driver": "json-file", "options": {"max-size": "1m"}},
    "shm_size": "1m",
    "sysctls": {"net.ipv4.ip_unprivileged_port_start": "80"},
    "group_add": ["1001"],
    "devices": ["/dev/null:/dev/nothing:r"],
    "oom_score_adj": 100,
    "volumes": ["kept:/kept", {"type": "tmpfs", "target": "/scratch", "tmpfs": {"size": 65536}}, ".:/project:ro"],
}
LIMITED: Fields = {
    "ulimits": {"core": 0},
    "deploy": {
        "replicas": 2,
        "update_config": {"parallelism": 1},
        "resources": {"limits": {"cpus": "0.5", "memory": "200M", "pids": 50}, "reservations": {"memory": "20M"}},
    },
}
ITS_OWN = {"PortBindings", "RestartPolicy", "Init", "Binds", "Mounts"}
"""Binds and mounts are two ways to say one thing: what came of them is compared."""
ATTACHED = {"AttachStdin", "AttachStdout", "AttachStderr"}
"""Of whoever made it, as nobody is attached."""


@pytest.mark.parametrize("keys", [RICH, LIMITED], ids=["rich", "limited"])
def test_a_container_is_made_as_docker_compose_makes_it(
    subject: Subject, project: Project, engine: str, keys: Fields
) -> None:
    if "command" in keys:
        made = inspect_image_command(engine, f"{REPOSITORY}:{subject.good.version}")
        keys = {**keys, "command": made}
    project.write(**keys)
    project.run("create", "--pull=never", "--scale=web=1", "web")
    theirs = inspect(engine, "com.docker.compose.service=web")
    project.run("rm", "--force", "web")

    release = subject.start(subject.good)

    ours = inspect(engine, f"{RELEASE}={release.id}")
    assert said(ours["HostConfig"], ITS_OWN) == said(theirs["HostConfig"], ITS_OWN)
    own = {"Image", "Labels", "Env", "ExposedPorts", *([] if "hostname" in keys else ["Hostname"])}
    assert said(ours["Config"], own | ATTACHED) == said(theirs["Config"], own | ATTACHED)
    assert set(theirs["Config"]["Env"]) <= set(ours["Config"]["Env"])
    assert mounts(ours) == mounts(theirs)
    assert set(ours["NetworkSettings"]["Networks"]) == set(theirs["NetworkSettings"]["Networks"])


def said(fields: Fields, without: set[str]) -> Fields:
    return {name: value for name, value in fields.items() if value and name not in without}


def inspect_image_command(engine: str, image: str) -> list[str]:
    with closing(docker.APIClient(base_url=engine, version="auto", timeout=60)) as api:
        return list(api.inspect_image(image)["Config"]["Cmd"])


def mounts(inspected: Fields) -> list[Fields]:
    kept = ("Type", "Name", "Source", "Destination", "RW")
    found = [{name: mount.get(name) for name in kept} for mount in inspected["Mounts"]]
    return sorted(found, key=lambda mount: str(mount["Destination"]))


def test_a_release_of_before_is_started_again_as_it_was_made(subject: Subject, project: Project, engine: str) -> None:
    project.write(hostname="as-it-was")
    release = subject.start(subject.good)
    subject.platform.stop_release(release.id)
    eventually(lambda: subject.read(release.id).state == "stopped")
    project.write(hostname="as-it-will-be", environment={"LISTEN": EVERYWHERE, "GREETING": "of now"})

    subject.platform.scale_release(release.id, 1)

    eventually(lambda: subject.read(release.id).state == "running")
    assert inspect(engine, f"{RELEASE}={release.id}")["Config"]["Hostname"] == "as-it-was"
    assert ask(subject.read(release.id), "/variable/GREETING") == "of now"


def test_what_the_engine_prunes_is_deployed_again_from_its_image(subject: Subject, engine: str) -> None:
    gone = subject.start(subject.good)
    remove_containers(engine, label=RELEASE)
    assert subject.platform.read_releases() == []
    assert subject.start(subject.good).id != gone.id


def test_a_plan_says_what_is_left_out_and_why(subject: Subject, project: Project) -> None:
    before = subject.platform.describe_start()
    project.write(ports=["80:8000"], labels={"traefik.enable": "true"}, deploy={"update_config": {"parallelism": 1}})
    told = subject.platform.describe_start()
    assert told.startswith(f"Containers are made as web of the compose project {PROJECT} (")
    for key in ("deploy.update_config", "labels", "ports", "image", "profiles", "depends_on"):
        assert f" {key} (" in told.partition("Left out:")[2]
    assert before.partition("Left out:")[0] == told.partition("Left out:")[0], "the containers are the same"
    project.write(user="1000")
    assert subject.platform.describe_start().partition("Left out:")[0] != before.partition("Left out:")[0]


def test_a_plan_holds_no_variables_value(subject: Subject, project: Project) -> None:
    project.write(environment={"PASSWORD": "planted"})
    before = subject.platform.describe_start()
    project.write(environment={"PASSWORD": "planted anew"})
    assert subject.platform.describe_start() == before, "a secret may be rotated between a plan and its approval"
    assert "planted" not in before


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"links": ["db"]}, "links is not known here"),
        ({"network_mode": "none"}, "network_mode is none"),
        ({"network_mode": "service:db"}, "network_mode is service:db"),
        ({"pid": "service:db"}, "it shares service:db"),
        ({"networks": {"default": {"ipv4_address": "10.1.1.1"}}}, "network default has ipv4_address"),
        ({"volumes": ["./here:/there:z"]}, "volume /there has selinux"),
        ({"deploy": {"resources": {"reservations": {"devices": [{"capabilities": ["gpu"]}]}}}}, "has devices"),
        ({"environment": {"TAG": "${TAG}"}}, "leaves TAG to variables that are not set"),
        ({"networks": ["other"]}, "cannot read the project"),
        ({"volumes": ["never-made:/kept"]}, "cannot read the project"),
        ({"environment": {"PASSWORD": "${planted"}}, "cannot read the project"),
        ({"env_file": ["missing.env"]}, "cannot read the project"),
    ],
)
def test_what_cannot_be_done_as_it_is_written_is_refused_before_anything_is_made(
    subject: Subject, project: Project, keys: Fields, complaint: str
) -> None:
    project.write(**keys)
    for look in (
        subject.platform.describe_start,
        lambda: subject.platform.start_release(subject.good.version, subject.good.commit, "run"),
    ):
        with pytest.raises(RefusedByPlatform, match=complaint) as refused:
            look()
        assert "Nothing was changed" in refused.value.hint
        assert "planted" not in str(refused.value)
    assert subject.platform.read_releases() == []


def test_a_project_whose_volume_or_network_is_not_there_is_refused(subject: Subject, project: Project) -> None:
    content = yaml.safe_load(project.file.read_text())
    content["services"]["web"] |= {"volumes": ["never-made:/kept"]}
    project.file.write_text(yaml.safe_dump({**content, "volumes": {"never-made": {}}}))
    with pytest.raises(RefusedByPlatform, match=f"no volume {PROJECT}_never-made"):
        subject.platform.start_release(subject.good.version, subject.good.commit, "run")

    elsewhere = project.service.model_copy(update={"project": "never-up"})
    platform = subject.platform.model_copy(update={"compose": elsewhere})
    with pytest.raises(RefusedByPlatform, match="no network never-up_default"):
        platform.start_release(subject.good.version, subject.good.commit, "run")
    assert subject.platform.read_releases() == []


def test_a_service_or_a_file_that_is_not_there_is_named(project: Project) -> None:
    with pytest.raises(RefusedByPlatform, match="no service api: db, web"):
        project.service.model_copy(update={"service": "api"}).read(10)
    with pytest.raises(RefusedByPlatform, match=r"no compose file .*missing\.yaml"):
        project.service.model_copy(update={"files": [str(project.file.with_name("missing.yaml"))]}).read(10)


def test_a_machine_without_docker_compose_says_so(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "docker-compose"
    old.write_text("#!/bin/sh\necho 1.29.2\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / name))
    compose._find_program.cache_clear()
    with pytest.raises(RefusedByPlatform, match=r"no `docker compose` .*docker-compose 1\.29\.2"):
        project.service.read(10)


@pytest.mark.parametrize("said", [{"network": "host"}, {"command": ["serve"]}])
def test_what_the_service_says_is_not_said_beside_it(said: Fields) -> None:
    described = ComposeService(files=["/srv/shop/compose.yaml"], service="web")
    with pytest.raises(ValidationError, match="its service says them"):
        DockerPlatform(service="shop", image="shop", caddy=CaddyRoute(route="shop"), compose=described, **said)
