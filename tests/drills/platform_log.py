"""Stands before a sandbox platform and keeps a log of what was changed there, by whom ever: the platform's own view.

The ledger tells what Backstop meant to do. Here stands what arrived: an undo that came twice, or one of what never
happened, leaves the environment as it should be and is seen here all the same.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any, NamedTuple

import httpx

from blocks.platforms.interface import Split

_SECONDS = 30


class Change(NamedTuple):
    path: str
    """As `/traffic` or `/releases/v1-1-0-3/stop`."""
    asked: Any
    accepted: bool
    in_vain: bool
    """It stopped what was stopped."""


class PlatformLog:
    def __init__(self, platform: str) -> None:
        self._client = httpx.Client(base_url=platform, timeout=_SECONDS, trust_env=False)
        self.changes: list[Change] = []
        """In the order in which the platform made them."""
        self.url = ""
        self._before: Split = {}

    def begin(self, before: Split) -> None:
        """A new one, of an environment whose traffic is that."""
        self._before = before
        self.changes.clear()

    def check(self, is_done: bool) -> None:
        """Each change was kept, or undone, exactly once and in order."""
        splits = [self._before, *(change.asked["split"] for change in self.changes if change.path == "/traffic")]
        told = f"the platform's log: {self.changes}"
        assert all(now != then for then, now in pairwise(splits)), f"traffic given twice; {told}"
        undone = 0 if is_done or len(splits) == 1 else 1
        assert splits.count(self._before) == 1 + undone, f"not {undone} times taken back; {told}"
        assert is_done or splits[-1] == self._before, f"changed after it was taken back; {told}"
        starts = [str(change.asked) for change in self.changes if change.path.endswith(("/releases", "/scale"))]
        assert len(starts) == len(set(starts)), f"started twice; {told}"
        assert not any(change.in_vain for change in self.changes), f"stopped twice; {told}"
        assert all(change.accepted for change in self.changes), f"refused; {told}"

    def pass_on(self, method: str, path: str, headers: dict[str, str], content: bytes) -> httpx.Response:
        in_vain = path.endswith("/stop") and self._is_stopped(path.removesuffix("/stop"), headers)
        answer = self._client.request(method, path, headers=headers, content=content)
        if method != "GET":
            self.changes.append(Change(path, json.loads(content or b"{}"), answer.is_success, in_vain))
        return answer

    def _is_stopped(self, path: str, headers: dict[str, str]) -> bool:
        return bool(self._client.get(path, headers=headers).json()["state"] == "stopped")

    def close(self) -> None:
        self._client.close()


@contextmanager
def platform_log(platform: str) -> Iterator[PlatformLog]:
    """`platform`: the address of its control API. Whoever is to be logged uses the log's `url` instead."""
    log = PlatformLog(platform)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"log": log}))
    server.daemon_threads = True
    serving = threading.Thread(target=server.serve_forever, args=(0.05,), name="platform log", daemon=True)
    serving.start()
    log.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield log
    finally:
        server.shutdown()
        server.server_close()
        serving.join(_SECONDS)
        log.close()


class _Handler(BaseHTTPRequestHandler):
    log: PlatformLog

    def _handle(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: self.headers[name] for name in ("Authorization", "Content-Type") if name in self.headers}
        answer = self.log.pass_on(self.command, self.path, headers, content)
        self.send_response_only(answer.status_code)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        try:
            self.wfile.write(answer.content)
        except OSError:
            self.close_connection = True  # who asked was killed

    do_GET = do_PUT = do_POST = _handle

    def log_message(self, *_: object) -> None:
        pass
