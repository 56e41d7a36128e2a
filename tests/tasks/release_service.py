"""A release to judge: a real HTTP server with real Prometheus counters and as many errors as wanted."""

import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from blocks.platforms.interface import Release

Respond = Callable[["Handler"], None]

TICK = 0.1
"""Seconds between two handfuls of visitors."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"
    service: "ReleaseService"

    def do_GET(self) -> None:
        special = self.service.special.get(self.path)
        if special is not None:
            special(self)
        elif self.path == "/metrics":
            self.reply(200, generate_latest(self.service.registry))
        elif self.path == "/health":
            self.reply(200 if self.service.healthy else 503)
        else:
            self.reply(self.service.visit(self.path))

    def reply(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 64
    daemon_threads = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A reader that gives up in time is what these tests want."""


class ReleaseService:
    """`visitors` arrive every second without HTTP in between: they are as many entries in
    the counters, so that hundreds of releases fit on one machine. Probes and reads are HTTP.
    """

    def __init__(
        self,
        id: str = "release-1",
        visitors: float = 0,
        error_rate: float = 0.0,
        slowness: Callable[[random.Random], float] = lambda chance: chance.gauss(0.03, 0.005),
        seed: int = 1,
    ) -> None:
        self.visitors, self.error_rate, self.slowness = visitors, error_rate, slowness
        self.healthy = True
        self.special: dict[str, Respond] = {}
        """Path → what the server does instead of answering well."""
        self._chance = random.Random(seed)
        self._stopping = threading.Event()
        self.restart()
        handler = type("ServiceHandler", (Handler,), {"service": self})
        self._server = Server(("127.0.0.1", 0), handler)
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=(0.02,)),
            threading.Thread(target=self._receive_visitors),
        ]
        self.release = Release(
            id=id,
            version="1.0.0",
            commit="c0ffee",
            state="running",
            url=f"http://127.0.0.1:{self._server.server_port}",
            replicas=1,
            started_by="",
            created_at=datetime.now(UTC),
        )

    def restart(self) -> None:
        """As a new process: all counters at zero, no child of any of them."""
        self.registry = CollectorRegistry()
        self._requests = Counter("http_requests_total", "…", ["path", "status"], registry=self.registry)
        self._seconds = Histogram("http_request_duration_seconds", "…", ["path"], registry=self.registry)

    def visit(self, path: str = "/") -> int:
        status = 500 if self._chance.random() < self.error_rate else 200
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(max(0.001, self.slowness(self._chance)))
        return status

    def _receive_visitors(self) -> None:
        last = time.monotonic()
        while not self._stopping.wait(TICK):
            last, before = time.monotonic(), last
            expected = self.visitors * (last - before)
            for _ in range(int(expected) + (self._chance.random() < expected % 1)):
                self.visit()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join()
