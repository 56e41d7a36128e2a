"""A Docker engine and a Caddy of the tests' own, with images made of this machine's Python. No network is needed."""

import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import NamedTuple

import docker
import httpx
import pytest

from blocks.platforms.docker_engine import RELEASE
from blocks.platforms.docker_images import REVISION
from tests.blocks.platforms.builds import STUB, Build
from tests.blocks.platforms.waiting import eventually
from tests.deployments.shop.processes import free_port

PYTHON = os.path.realpath(sys._base_executable)  # type: ignore[attr-defined]
REPOSITORY = "stub"
ROUTE = "stub"


def require_engine() -> None:
    for program in ("dockerd", "docker-init", "caddy"):
        if not shutil.which(program):
            pytest.skip(f"no {program} on this machine")
    if os.geteuid() != 0:
        pytest.skip("only root can start a Docker engine")


@contextmanager
def running_engine(folder: Path) -> Iterator[str]:
    """The address of an engine that touches neither the network's rules nor another engine."""
    address = f"unix://{folder}/engine.sock"
    command = [
        *("dockerd", f"--host={address}", f"--data-root={folder}/data", f"--exec-root={folder}/exec"),
        *(f"--pidfile={folder}/engine.pid", "--iptables=false", "--bridge=none", "--storage-driver=vfs"),
    ]
    try:
        with _running(command, folder / "engine.log") as started:
            eventually(lambda: _listens(folder / "engine.sock") or started.poll() is not None)
            if started.poll() is not None:
                pytest.skip(f"no engine can be had here: {(folder / 'engine.log').read_text().splitlines()[-1]}")
            try:
                yield address
            finally:
                remove_containers(address)
    finally:
        # It leaves the network namespace mounted that its containers had.
        subprocess.run(["umount", str(folder / "exec" / "netns" / "default")], check=False, capture_output=True)


@contextmanager
def running_caddy(folder: Path) -> Iterator[tuple[str, str]]:
    """The addresses of its administration API, and of its one site, whose route bears an `@id`."""
    admin, site = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    server = {"listen": [site], "routes": [{"@id": ROUTE, "handle": []}], "automatic_https": {"disable": True}}
    config = {"admin": {"listen": admin}, "apps": {"http": {"servers": {"stub": server}}}}
    (folder / "caddy.json").write_text(json.dumps(config))
    command = ["caddy", "run", f"--config={folder}/caddy.json"]
    with _running(command, folder / "caddy.log", XDG_CONFIG_HOME=str(folder), XDG_DATA_HOME=str(folder)):
        eventually(lambda: _is_up(f"http://{admin}/config/"))
        yield f"http://{admin}", f"http://{site}"


def admit_to_caddy(admin: str, proxy: str) -> None:
    """Its administration API answers who asks for that proxy, too, as soon as it has taken it in."""
    hosts = [url.removeprefix("http://") for url in (admin, proxy)]
    httpx.put(f"{admin}/config/admin/origins", json=hosts, timeout=5, trust_env=False).raise_for_status()
    eventually(lambda: _is_up(f"{proxy}/config/"))


def own_ports() -> tuple[int, int]:
    """For containers on the host's network: other engines of this machine give out ports at the same time."""
    first = random.randrange(61000, 65500, 50)  # above those that the kernel and the stacks choose from
    return first, first + 49


def remove_containers(address: str, spare: str = "", label: str = "") -> None:
    """With that label, but for those of the release that is to be spared."""
    with _engine(address) as engine:
        for container in engine.containers(all=True, filters={"label": label} if label else None):
            if container["Labels"].get(RELEASE) != spare:
                engine.remove_container(container["Id"], force=True)


class Content(NamedTuple):
    """Of an image."""

    files: set[str]
    """Of this machine, at the same paths there."""
    own: dict[str, Path]
    """Path there → file or folder here."""
    command: list[str]
    variables: dict[str, str]


def import_image(address: str, name: str, commit: str, content: Content) -> None:
    """An image of one layer, built of that commit; its command is run in /srv. `name` is `repository:tag`."""
    repository, _, tag = name.rpartition(":")
    variables = [f"ENV {variable}={value}" for variable, value in content.variables.items()]
    changes = ["WORKDIR /srv", f"LABEL {REVISION}={commit}", f"CMD {json.dumps(content.command)}", *variables]
    with NamedTemporaryFile(suffix=".tar") as image:
        with tarfile.open(fileobj=image, mode="w", dereference=True) as archive:
            for path in sorted(content.files):
                archive.add(path, recursive=False)
            for there, here in content.own.items():
                archive.add(here, there)
        image.flush()
        with _engine(address) as engine:
            engine.import_image(image.name, repository=repository, tag=tag, changes=changes)


def import_stubs(address: str, builds: list[Build], folder: Path) -> None:
    """An image of the stub for each build, which holds what the stub needs and no more."""
    files = files_of_python("encodings.idna, http.server, json, os, sys, threading, urllib.request")
    for build in builds:
        version = folder / "VERSION"
        version.write_text(build.version)
        content = Content(files, {"/srv/stub.py": STUB, "/srv/VERSION": version}, [PYTHON, "-u", "-m", "stub"], {})
        import_image(address, f"{REPOSITORY}:{build.version}", build.commit, content)


def files_of_python(imports: str, *path: str) -> set[str]:
    """This machine's Python, and every file of what it has loaded after these imports."""
    told = f"import {imports}; print(*(getattr(one, '__file__', None) or '' for one in sys.modules.values()))"
    command = [PYTHON, "-c", f"import sys; {told}"]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    listed = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, env=variables)
    modules = {name for name in listed.stdout.split() if name.startswith("/")}
    encodings = {str(path) for name in modules if "/encodings/" in name for path in Path(name).parent.glob("*.py")}
    return {PYTHON} | modules | encodings | _libraries({PYTHON, *modules})


def _libraries(files: set[str]) -> set[str]:
    """What they are linked to, and the loader."""
    binaries = [file for file in files if file == PYTHON or ".so" in file]
    told = subprocess.run(["ldd", *binaries], check=False, capture_output=True, text=True, timeout=60).stdout
    words = {word for line in told.splitlines() for word in line.split() if word.startswith("/") and ":" not in word}
    return {os.path.normpath(word) for word in words}


@contextmanager
def _running(command: list[str], log: Path, **variables: str) -> "Iterator[subprocess.Popen[bytes]]":
    with log.open("wb") as output:
        started = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=os.environ | variables)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(30)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait(10)


def _engine(address: str) -> "closing[docker.APIClient]":
    return closing(docker.APIClient(base_url=address, version="1.41", timeout=60))


def _listens(path: Path) -> bool:
    """Clients leave a socket open that could not be connected."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _is_up(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).is_success
    except httpx.TransportError:
        return False
