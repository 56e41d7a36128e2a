"""A real HTTP server that answers as a test tells it to: well, badly, slowly, byte by byte or never."""

import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: str


class Handler(BaseHTTPRequestHandler):
    service: "SmallService"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.service.requests.append(Request(self.command, self.path, dict(self.headers), body))
        respond = self.service.answers.get(f"{self.command} {self.path.partition('?')[0]}", status(404))
        try:
            respond(self)
        except OSError:
            self.close_connection = True  # the client gave up, which many of these tests want

    do_GET = do_POST = do_DELETE = _answer

    def reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


Respond = Callable[[Handler], None]


def status(code: int, content: object = None) -> Respond:
    """The content as JSON; bytes as they are."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return lambda handler: handler.reply(code, body)


def after(seconds: float, then: Respond) -> Respond:
    def respond(handler: Handler) -> None:
        time.sleep(seconds)
        then(handler)

    return respond


def hang(handler: Handler) -> None:
    handler.service.ending.wait()


def drip(handler: Handler) -> None:
    """A byte now and then: no single read takes long, the whole never ends."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    while not handler.service.ending.wait(0.05):
        handler.wfile.write(b" ")


def drip_headers(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while not handler.service.ending.wait(0.05):
        handler.wfile.write(b"X: y\r\n")


class Server(ThreadingHTTPServer):
    request_queue_size = 64
    daemon_threads = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up or dislikes the certificate is part of a test."""


class SmallService:
    def __init__(self, answers: dict[str, Respond], tls: ssl.SSLContext | None = None) -> None:
        self.answers = answers
        """`GET /path` → what is answered; anything else is 404."""
        self.requests: list[Request] = []
        self.ending = threading.Event()
        self._server = Server(("127.0.0.1", 0), type("ServiceHandler", (Handler,), {"service": self}))
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ending.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
