"""The sample service in containers of a Docker engine, behind a Caddy: one environment of its own."""

import subprocess
import sysconfig
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import distribution, packages_distributions
from io import BytesIO
from pathlib import Path

import yaml

from blocks.platforms.caddy import CaddyRoute
from blocks.platforms.docker import DockerPlatform
from blocks.platforms.interface import Release
from deployments.shop.visits import Visit, failures_without_fault, read_visits
from tests.benchmarks.visiting import visitors
from tests.blocks.platforms.engine import (
    PYTHON,
    ROUTE,
    Content,
    files_of_python,
    import_image,
    remove_containers,
    running_caddy,
    running_engine,
)
from tests.blocks.platforms.waiting import eventually
from tests.flows.environments import PRODUCTION, QUICK
from tests.flows.production import START_SECONDS, Production

ENVIRONMENT, IMAGE = "shop-docked", "shop"
LATE = "uvicorn.loops.auto, uvicorn.protocols.http.auto, uvicorn.lifespan.on, alembic.command"
"""What the service imports once it runs."""
NOT_NEEDED = {"site-packages", "test", "__pycache__", "idlelib", "tkinter", "ensurepip", "lib2to3", "turtledemo"}
VISITS_A_SECOND = 20


@dataclass(frozen=True)
class Docked:
    platform: DockerPlatform
    site: str
    visits: Path

    def start(self, version: str, commit: str) -> Release:
        """Running, without traffic."""
        release = self.platform.start_release(version, commit, "")
        eventually(lambda: self.read(release.id).state != "starting", START_SECONDS)
        assert self.read(release.id).state == "running", self.read(release.id).detail
        return self.read(release.id)

    def read(self, release: str) -> Release:
        return next(one for one in self.platform.read_releases() if one.id == release)

    def running(self) -> set[str]:
        return {one.id for one in self.platform.read_releases() if one.state in ("starting", "running")}

    def unplanned_failures(self, since: float) -> list[Visit]:
        visits = list(read_visits(self.visits, since))
        assert len(visits) > VISITS_A_SECOND, "hardly anybody visited"
        return failures_without_fault(visits)


@contextmanager
def docked_shop(production: Production, versions: list[str], folder: Path) -> Iterator[Docked]:
    """The first of the versions has all traffic, of a steady stream of visitors; the others are images."""
    stack = production.stack
    with running_engine(folder) as engine, running_caddy(folder) as (admin, site):
        for version in versions:
            _import_shop(engine, production, version, folder)
        caddy = CaddyRoute(url=admin, route=ROUTE)
        platform = DockerPlatform(
            service="shop", image=IMAGE, pull=False, engine=engine, network="host", grace_seconds=10, caddy=caddy
        )
        docked = Docked(platform, site, folder / "visits.jsonl")
        try:
            stack.run("apply", str(_write_environment(folder, platform, site)))
            platform.set_variables({**production.platform.read_variables(), "PYTHONUNBUFFERED": "1"})
            first = docked.start(versions[0], production.commit(versions[0]))
            platform.shift_traffic({first.id: 100})
            password = stack.layout.credentials.production.demo_password
            with visitors(site, docked.visits, VISITS_A_SECOND, password):
                yield docked
        finally:
            remove_containers(engine)


def _import_shop(engine: str, production: Production, version: str, folder: Path) -> None:
    """As it would be built of that commit. It brings this machine's Python along, and the libraries of the checkout."""
    libraries, source = sysconfig.get_path("purelib"), folder / version
    archived = subprocess.run(
        ["git", "-C", str(production.repository), "archive", version], check=True, capture_output=True, timeout=60
    )
    with tarfile.open(fileobj=BytesIO(archived.stdout)) as archive:
        archive.extractall(source, filter="data")
    loaded = files_of_python(f"shop.__main__, {LATE}", libraries, str(source))
    files = {one for one in loaded if not one.startswith(str(source))} | _standard_library()
    files |= _distributions({one for one in loaded if one.startswith(libraries)}, libraries)
    content = Content(files, {"/srv": source}, [PYTHON, "-m", "shop"], {"PYTHONPATH": libraries})
    import_image(engine, f"{IMAGE}:{version}", production.commit(version), content)


def _standard_library() -> set[str]:
    """What is imported late, too."""
    root = Path(sysconfig.get_path("stdlib"))
    return {str(path) for path in root.rglob("*") if path.is_file() and NOT_NEEDED.isdisjoint(path.parts)}


def _distributions(modules: set[str], libraries: str) -> set[str]:
    """All files of those that the modules belong to: a program asks for its libraries' versions."""
    names = packages_distributions()
    tops = {Path(module).relative_to(libraries).parts[0].removesuffix(".py") for module in modules}
    found = [distribution(name) for top in tops for name in names.get(top, [])]
    paths = {Path(str(file.locate())) for one in found for file in one.files or [] if ".." not in file.parts}
    return {str(path) for path in paths if path.is_file()}


def _write_environment(folder: Path, platform: DockerPlatform, site: str) -> Path:
    content = yaml.safe_load(PRODUCTION.read_text())
    del content["approvals"]
    content["environment"] = ENVIRONMENT
    fields = {"service", "image", "pull", "engine", "network", "grace_seconds"}
    content["platform"] = {
        "type": "docker",
        **platform.model_dump(mode="json", include=fields),
        "caddy": platform.caddy.model_dump(mode="json"),
    }
    content["service"]["url"] = site
    content["rollout"] |= QUICK["rollout"]
    path = folder / f"{ENVIRONMENT}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
