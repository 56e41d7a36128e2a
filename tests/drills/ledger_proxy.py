"""Stands between one process and the ledger, and kills the process at a moment of what crosses it.

A moment is a write that becomes durable: a COMMIT, or a writing statement outside of a transaction. It is found in
what crosses the wire, so a step that is new is one more moment, without being listed anywhere. What the process does
to other things lies between two of them.
"""

import json
import os
import re
import signal
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Literal, NamedTuple
from urllib.parse import urlsplit, urlunsplit

Side = Literal["before", "after"]
_WRITES = re.compile(rb"\s*(INSERT|UPDATE|DELETE|COMMIT)\b", re.IGNORECASE)
_BEAT = b"SET beat_at"
"""A process that lives says so once a second: no step of a procedure."""
_SECONDS = 10
_STARTUP_CODES = {80877103, 80877104}
"""Requests for TLS or GSSAPI, which have no type and are answered with one byte."""


class Moment(NamedTuple):
    """The process is killed before or after its write of that number reaches the ledger."""

    number: int
    """Counted from 1."""
    side: Side


class LedgerProxy:
    def __init__(self, ledger: str, moment: Moment | None = None) -> None:
        self._ledger, self._moment = urlsplit(ledger), moment
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.writes: list[str] = []
        """What each write was, in order."""
        self.killed = Event()
        self.pid = 0
        """The process to be killed; known once it was started."""

    @property
    def url(self) -> str:
        """The ledger's, through here."""
        login, _, _ = self._ledger.netloc.rpartition("@")
        port = self._listener.getsockname()[1]
        return urlunsplit(self._ledger._replace(netloc=f"{login}@127.0.0.1:{port}"))

    def serve(self) -> None:
        with suppress(OSError):  # closed: nobody comes any more
            while True:
                client, _ = self._listener.accept()
                Thread(target=_Session(self, client).run, name="ledger session", daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def connect(self) -> socket.socket:
        return socket.create_connection((self._ledger.hostname, self._ledger.port), timeout=_SECONDS)

    def is_time(self, side: Side) -> bool:
        return self._moment == (len(self.writes), side)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.killed.set()


class _Session:
    """One connection. What the client sends is looked at message by message; the answers only for where one ends."""

    def __init__(self, proxy: LedgerProxy, client: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, proxy.connect()
        self._prepared: dict[bytes, bytes] = {}
        self._in_transaction = False
        self._said = ""

    def run(self) -> None:
        with self._client, self._server, suppress(OSError, EOFError):
            self._begin()
            while not self._proxy.killed.is_set():
                self._exchange()

    def _begin(self) -> None:
        while True:
            (size,) = struct.unpack("!I", head := _read(self._client, 4))
            body = _read(self._client, size - 4)
            self._server.sendall(head + body)
            if struct.unpack("!I", body[:4])[0] not in _STARTUP_CODES:
                break
            self._client.sendall(_read(self._server, 1))
        self._answer(_read_until_ready(self._server, self._client))

    def _exchange(self) -> None:
        """What the client says up to where it waits for an answer, then the answer."""
        said, is_write = bytearray(), False
        while True:
            kind, body = _read_message(self._client)
            said += kind + struct.pack("!I", len(body) + 4) + body
            is_write |= self._writes(kind, body)
            if kind in (b"Q", b"S"):
                break
            if kind == b"X":
                self._server.sendall(said)
                raise EOFError
        if is_write:
            self._proxy.writes.append(self._said)
            if self._proxy.is_time("before"):
                self._proxy.kill()
                return
        self._server.sendall(said)
        answer = _read_until_ready(self._server)
        if is_write and self._proxy.is_time("after"):
            self._proxy.kill()
            return
        self._answer(answer)

    def _answer(self, answer: bytes) -> None:
        self._in_transaction = answer[-1:] != b"I"
        self._client.sendall(answer)

    def _writes(self, kind: bytes, body: bytes) -> bool:
        statement = self._statement(kind, body)
        if statement is None or _BEAT in statement or not _WRITES.match(statement):
            return False
        if statement.strip().upper() == b"COMMIT":
            return True
        self._said = _in_words(statement, _values(body) if kind == b"B" else [])
        return not self._in_transaction

    def _statement(self, kind: bytes, body: bytes) -> bytes | None:
        """The text of what is executed with this message; None for one that executes nothing."""
        if kind == b"Q":
            return body.rstrip(b"\0")
        if kind == b"P":
            name, text, _ = body.split(b"\0", 2)
            self._prepared[name] = text
        if kind == b"B":
            _, name, _ = body.split(b"\0", 2)
            return self._prepared.get(name)
        return None


def _values(bind: bytes) -> list[bytes]:
    """Of a Bind message, where they are text."""
    _, _, rest = bind.split(b"\0", 2)
    (formats,) = struct.unpack("!H", rest[:2])
    rest = rest[2 + 2 * formats :]
    (count,) = struct.unpack("!H", rest[:2])
    rest, found = rest[2:], []
    for _ in range(count):
        (size,) = struct.unpack("!i", rest[:4])
        found.append(rest[4 : 4 + max(size, 0)])
        rest = rest[4 + max(size, 0) :]
    return found


def _in_words(statement: bytes, values: list[bytes]) -> str:
    """For people: an event of the trail by its name and what it is about, else the beginning of the statement."""
    if not statement.startswith(b"INSERT INTO audit"):
        return " ".join(statement.decode(errors="replace").split()[:3])
    event, detail = values[5].decode(), json.loads(values[6].lstrip(b"\1"))
    about = detail.get("effect") or detail.get("phase") or detail.get("undo") or ""
    return f"{event} {about}".strip()


@contextmanager
def ledger_proxy(ledger: str, moment: Moment | None = None) -> Iterator[LedgerProxy]:
    proxy = LedgerProxy(ledger, moment)
    server = Thread(target=proxy.serve, name="ledger proxy", daemon=True)
    server.start()
    try:
        yield proxy
    finally:
        proxy.close()
        server.join(_SECONDS)


def _read(source: socket.socket, size: int) -> bytes:
    content = bytearray()
    while len(content) < size:
        part = source.recv(size - len(content))
        if not part:
            raise EOFError
        content += part
    return bytes(content)


def _read_message(source: socket.socket) -> tuple[bytes, bytes]:
    kind = _read(source, 1)
    (size,) = struct.unpack("!I", _read(source, 4))
    return kind, _read(source, size - 4)


def _read_until_ready(server: socket.socket, client: socket.socket | None = None) -> bytes:
    """Everything up to 'ready for the next query'; a client that logs in answers in between."""
    answer = bytearray()
    while True:
        kind, body = _read_message(server)
        answer += kind + struct.pack("!I", len(body) + 4) + body
        if kind == b"Z":
            return bytes(answer)
        asks = kind == b"R" and struct.unpack("!I", body[:4])[0] not in (0, 12)
        if asks and client:
            client.sendall(bytes(answer))
            answer.clear()
            reply, content = _read_message(client)
            server.sendall(reply + struct.pack("!I", len(content) + 4) + content)
