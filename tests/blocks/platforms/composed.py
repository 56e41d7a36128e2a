"""A compose project of the tests, which the real `docker compose` reads and brings up."""

import os
import subprocess
import sysconfig
from contextlib import closing
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml

from blocks.platforms.compose import ComposeService
from tests.blocks.platforms.engine import REPOSITORY

PROJECT, PORT = "stubs", 8000
EVERYWHERE = "0.0.0.0"  # noqa: S104 (of a container, in a network of its own)

Fields = dict[str, Any]


def require_networks(engine: str) -> None:
    with closing(docker.APIClient(base_url=engine, version="auto", timeout=60)) as api:
        try:
            made = api.create_network("tried", driver="bridge")
        except docker.errors.APIError as error:
            pytest.skip(f"the engine can make no network here: {error.explanation}")
        api.remove_network(made["Id"])


class Project:
    """A service `web`, as a stub needs it, and its neighbour `db`, which the project itself runs."""

    def __init__(self, folder: Path, engine: str, version: str) -> None:
        self.file = folder / "compose.yaml"
        self.engine = engine
        self.content: Fields = {
            "services": {
                "web": {
                    "image": f"{REPOSITORY}:{version}",
                    "profiles": ["released"],
                    "environment": {"LISTEN": EVERYWHERE, "GREETING": "of the project"},
                    "volumes": ["kept:/kept"],
                    "depends_on": ["db"],
                },
                "db": {
                    "image": f"{REPOSITORY}:{version}",
                    "environment": {"LISTEN": EVERYWHERE, "PORT": str(PORT)},
                    "networks": ["default", "back"],
                },
            },
            "networks": {"back": {}},
            "volumes": {"kept": {}},
        }
        self.write()

    @property
    def service(self) -> ComposeService:
        return ComposeService(files=[str(self.file)], service="web", project=PROJECT)

    def write(self, **keys: Any) -> None:
        """With these keys of the service `web`, too."""
        services = self.content["services"]
        changed = {**services, "web": {**services["web"], **keys}}
        self.file.write_text(yaml.safe_dump({**self.content, "services": changed}))

    def run(self, *arguments: str) -> None:
        program = Path(sysconfig.get_path("scripts")) / "docker-compose"
        command = [str(program), f"--file={self.file}", f"--project-name={PROJECT}", "--profile=*", *arguments]
        variables = {"DOCKER_HOST": self.engine, "PATH": os.environ["PATH"], "HOME": str(self.file.parent)}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
