"""Stands between one process and the ledger. What crosses is a write that becomes durable: a COMMIT, or a writing
statement outside of a transaction. What the process does to other things lies between two of them.
"""

import re
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from threading import Thread
from urllib.parse import urlsplit, urlunsplit

from tests.drills.moments import Recorder
from tests.drills.wire import in_words, log_in, read_message, read_until_ready, values_of

_WRITES = re.compile(rb"\s*(INSERT|UPDATE|DELETE|COMMIT)\b", re.IGNORECASE)
_BEAT = b"SET beat_at"
"""A process that lives says so once a second: no step of a procedure."""
_SECONDS = 10


class LedgerProxy:
    def __init__(self, ledger: str, recorder: Recorder) -> None:
        self._ledger, self.recorder = urlsplit(ledger), recorder
        self._listener = socket.create_server(("127.0.0.1", 0))

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
                Thread(target=self._attend, args=[client], name="ledger session", daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _attend(self, client: socket.socket) -> None:
        address = (self._ledger.hostname, self._ledger.port)
        with client, suppress(OSError, EOFError), socket.create_connection(address, _SECONDS) as server:
            _Session(self, client, server).run()


class _Session:
    """One connection. What the client sends is looked at message by message; the answers only for where one ends."""

    def __init__(self, proxy: LedgerProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._prepared: dict[bytes, bytes] = {}
        self._in_transaction = False
        self._said = ""

    def run(self) -> None:
        """Until one of the two ends it: OSError or EOFError."""
        self._answer(log_in(self._client, self._server))
        while True:
            self._exchange()

    def _exchange(self) -> None:
        """What the client says up to where it waits for an answer, then the answer."""
        said, is_write = bytearray(), False
        while True:
            kind, body = read_message(self._client)
            said += kind + struct.pack("!I", len(body) + 4) + body
            is_write |= self._writes(kind, body)
            if kind in (b"Q", b"S"):
                break
            if kind == b"X":
                self._server.sendall(said)
                raise EOFError
        with self._proxy.recorder.cross("ledger", self._said) if is_write else nullcontext():
            self._server.sendall(said)
            answer = read_until_ready(self._server)
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
        self._said = in_words(statement, values_of(body) if kind == b"B" else [])
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


@contextmanager
def ledger_proxy(ledger: str, recorder: Recorder) -> Iterator[str]:
    """The ledger's URL, through here."""
    proxy = LedgerProxy(ledger, recorder)
    server = Thread(target=proxy.serve, name="ledger proxy", daemon=True)
    server.start()
    try:
        yield proxy.url
    finally:
        proxy.close()
        server.join(_SECONDS)
