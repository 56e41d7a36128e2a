"""The sample service in containers of a Docker engine, as a compose file describes them, behind a Caddy."""

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
from blocks.platforms.compose import ComposeService
from blocks.platforms.docker import DockerPlatform
from deployments.shop.visits import Visit, failures_without_fault, read_visits
from tests.benchmarks.visiting import visitors
from tests.blocks.platforms.engine import (
    PYTHON,
    ROUTE,
    Content,
    files_of_python,
    import_image,
    own_ports,
    remove_containers,
    running_caddy,
    running_engine,
)
from tests.flows.elsewhere import Elsewhere
from tests.flows.production import Production

ENVIRONMENT, IMAGE = "shop-docked", "shop"
COMPOSED = {
    "image": IMAGE,
    "network_mode": "host",  # its database and its Redis listen on this machine's loopback
    "environment": {"PYTHONUNBUFFERED": "1"},
    "tmpfs": ["/run"],
    "ports": ["80:8000"],
}
"""What a compose file says of it; the ports are left out."""
LATE = "uvicorn.loops.auto, uvicorn.protocols.http.auto, uvicorn.lifespan.on, alembic.command"
"""What the service imports once it runs."""
NOT_NEEDED = {"site-packages", "test", "__pycache__", "idlelib", "tkinter", "ensurepip", "lib2to3", "turtledemo"}
VISITS_A_SECOND = 20


@dataclass(frozen=True)
class Docked(Elsewhere):
    environment = ENVIRONMENT
    platform: DockerPlatform
    site: str

    @property
    def url(self) -> str:
        return self.site

    @property
    def visits(self) -> Path:
        return self.folder / "visits.jsonl"

    def run_alone(self, version: str) -> None:
        running = [one for one in self.platform.read_releases() if one.version == version and one.state == "running"]
        release = running[0] if running else self.start(version)
        self.platform.shift_traffic({release.id: 100})
        remove_containers(self.platform.engine, spare=release.id)

    def shares(self) -> dict[str, int]:
        """Address → share of the requests, as Caddy has them."""
        return self.platform.caddy.read(self.platform.timeout).shares

    def unplanned_failures(self, since: float) -> list[Visit]:
        visits = list(read_visits(self.visits, since))
        assert len(visits) > VISITS_A_SECOND, "hardly anybody visited"
        return failures_without_fault(visits)


@contextmanager
def docked_shop(production: Production, versions: list[str], folder: Path) -> Iterator[Docked]:
    """The first of the versions has all traffic, of a steady stream of visitors; the others are images."""
    with running_engine(folder) as engine, running_caddy(folder) as (admin, site):
        for version in versions:
            _import_shop(engine, production, version, folder)
        caddy = CaddyRoute(url=admin, route=ROUTE)
        described = folder / "compose.yaml"
        described.write_text(yaml.safe_dump({"name": "shop", "services": {"web": COMPOSED}}))
        platform = DockerPlatform(
            service="shop",
            image=IMAGE,
            pull=False,
            engine=engine,
            compose=ComposeService(files=[str(described)], service="web"),
            ports=own_ports(),
            grace_seconds=10,
            caddy=caddy,
            timeout=60,  # without layers a container is a copy of its whole image
        )
        docked = Docked(production, platform, folder, site)
        try:
            platform.set_variables(production.platform.read_variables())
            docked.run_alone(versions[0])
            password = production.stack.layout.credentials.production.demo_password
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
