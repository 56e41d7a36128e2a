"""A proxy before a real server that fails on demand: what passes through it is HTTP, one request at a time."""

import http.client
import socket
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

Kind = Literal["429", "500", "503", "hang", "drop request", "lose answer", "twice", "truncate", "spoil", "late"]
"""Lose answer: the server has done what was asked, and nobody is told. Twice: it is asked a second time, as by a
client or something in between that tried again; the second answer counts."""
_CODES = {"429": "TooManyRequests", "500": "InternalError", "503": "SlowDown"}
_RETRY_AFTER = {"429": "1"}


@dataclass
class Fault:
    """Hits the next `times` requests of that method whose path and query contain the text."""

    kind: Kind
    method: str
    text: str = ""
    times: int = 1
    after_bytes: int = 0
    """Of the answer's content that still arrive before it is truncated."""
    seconds: float = 1
    """How late a late one is passed on."""

    def takes(self, method: str, path: str) -> bool:
        return self.times > 0 and method == self.method and self.text in path


class Request(NamedTuple):
    method: str
    path: str
    """With its query."""
    headers: Message
    content: bytes


Watcher = Callable[[Request], Generator[None, int]]
"""Sees a request before it is passed on, up to its yield, and is sent the status before the answer is handed on.
EOFError from it ends the connection there."""


@dataclass
class FaultProxy:
    upstream: str
    """As `http://127.0.0.1:8080` or `unix:///run/engine.sock`."""
    faults: list[Fault] = field(default_factory=list)
    watchers: list[Watcher] = field(default_factory=list)
    """Of what is passed on."""
    requests: list[str] = field(default_factory=list)
    endpoint: str = ""
    released: threading.Event = field(default_factory=threading.Event)
    delete_asked: threading.Event = field(default_factory=threading.Event)
    late_in_vain: bool = False
    """Whether a late request, which waits for a deletion to be asked for, saw none."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def next_fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            self.requests.append(f"{method} {path}")
            if method == "DELETE":
                self.delete_asked.set()
            fault = next((fault for fault in self.faults if fault.takes(method, path)), None)
            if fault:
                fault.times -= 1
            return fault

    def asked(self, method: str, text: str = "") -> int:
        return sum(request.startswith(f"{method} ") and text in request for request in self.requests)


@contextmanager
def running_proxy(upstream: str) -> Iterator[FaultProxy]:
    proxy = FaultProxy(upstream)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": proxy}))
    server.daemon_threads = True
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    serving.start()
    proxy.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield proxy
    finally:
        proxy.released.set()
        server.shutdown()
        server.server_close()
        serving.join()


class _UnixConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.host)


def _connection(upstream: str) -> http.client.HTTPConnection:
    address = urlsplit(upstream)
    if address.scheme == "unix":
        return _UnixConnection(address.path, timeout=30)
    return http.client.HTTPConnection(address.netloc, timeout=30)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: FaultProxy

    def _handle(self) -> None:
        try:
            self._deal_with()
        except EOFError:
            self._hang_up()
        except OSError:
            self.close_connection = True  # who asked is gone

    def _deal_with(self) -> None:
        fault = self.proxy.next_fault(self.command, self.path)
        kind = fault.kind if fault else ""
        length = int(self.headers.get("Content-Length", 0))
        if kind == "drop request":
            self.rfile.read(length // 2)
            self._hang_up()
            return
        content = self.rfile.read(length)
        if fault and kind == "late":
            self.proxy.late_in_vain = not self.proxy.delete_asked.wait(fault.seconds)
        if kind == "hang":
            self.proxy.released.wait(60)
            self._hang_up()
        elif kind in _CODES:
            self._refuse(kind)
        else:
            if kind == "spoil" and content:
                content = bytes([content[0] ^ 1]) + content[1:]
            self._pass_on(content, fault)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_HEAD = _handle

    def _pass_on(self, content: bytes, fault: Fault | None) -> None:
        request = Request(self.command, self.path, self.headers, content)
        watching = [watcher(request) for watcher in self.proxy.watchers]
        for watch in watching:
            next(watch)
        answer, body = self._ask(content)
        if fault and fault.kind == "twice":
            answer, body = self._ask(content)
        for watch in watching:
            with suppress(StopIteration):
                watch.send(answer.status)
        if fault and fault.kind == "lose answer":
            self._hang_up()
            return
        self._answer(answer, body, fault.after_bytes if fault and fault.kind == "truncate" else None)

    def _ask(self, content: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        upstream = _connection(self.proxy.upstream)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("expect", "connection"):
                    upstream.putheader(name, value)
            upstream.endheaders(content)
            answer = upstream.getresponse()
            return answer, answer.read()
        finally:
            upstream.close()

    def _answer(self, answer: http.client.HTTPResponse, body: bytes, after_bytes: int | None) -> None:
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length", "0") if self.command == "HEAD" else str(len(body))
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(body[:after_bytes])
        if after_bytes is not None:
            self._hang_up()

    def _refuse(self, status: str) -> None:
        body = f"<?xml version='1.0'?><Error><Code>{_CODES[status]}</Code><Message>on demand</Message></Error>".encode()
        self.send_response_only(int(status))
        if status in _RETRY_AFTER:
            self.send_header("Retry-After", _RETRY_AFTER[status])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):  # who asked is gone
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        pass
