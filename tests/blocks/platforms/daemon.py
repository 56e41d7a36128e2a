"""The sandbox daemon as tests run it: a real process, ended together with its releases."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import psutil

from blocks.platforms.sandbox import SandboxPlatform
from deployments.sandbox.config import TOKEN_VARIABLE
from deployments.sandbox.leftovers import end_leftovers
from tests.blocks.platforms.waiting import eventually

TOKEN = "token-of-the-test"


class Daemon:
    def __init__(self, folder: Path, repository: Path, **settings: object) -> None:
        self.folder = folder
        folder.mkdir()
        front_port, control_port = _free_ports()
        self.front = f"http://127.0.0.1:{front_port}"
        self.control = f"http://127.0.0.1:{control_port}"
        config: dict[str, object] = {
            "environment": "stub-test",
            "repository": str(repository),
            "command": ["python", "-m", "stub"],
            "health": "/health",
            "front_port": front_port,
            "control_port": control_port,
            "start_timeout": 10,
            "drain_timeout": 5,
        }
        (folder / "config.json").write_text(json.dumps(config | settings))
        self.process = self.begin()

    @property
    def platform(self) -> SandboxPlatform:
        return SandboxPlatform(url=self.control, token=f"${{{TOKEN_VARIABLE}}}", timeout=5)

    def begin(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "deployments.sandbox", "--folder", str(self.folder)]
        log = open(self.folder / "daemon.log", "ab")  # noqa: SIM115 (the process keeps it)
        with log:
            self.process = subprocess.Popen(
                command,
                env=os.environ | {TOKEN_VARIABLE: TOKEN},
                stderr=subprocess.STDOUT,
                stdout=log,
                preexec_fn=_end_with_the_tests,  # noqa: PLW1509 (no test starts one beside threads)
            )
        eventually(self._is_ready, 20)
        return self.process

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        end_leftovers(self.folder)
        for pid in self.stubs():  # what a broken daemon lost sight of
            psutil.Process(pid).kill()

    def stubs(self) -> set[int]:
        """Every process that runs in the checkouts, whatever the state says."""
        checkouts = str(self.folder / "checkouts")
        return {p.pid for p in psutil.process_iter(["cwd"]) if (p.info["cwd"] or "").startswith(checkouts)}

    def log(self) -> str:
        return (self.folder / "daemon.log").read_text()

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.log()
        try:
            return httpx.get(f"{self.control}/ready", timeout=2).is_success
        except httpx.TransportError:
            return False


_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _end_with_the_tests() -> None:
    """Tests that are killed run no teardown: the kernel then ends the daemon, and it its releases."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]
