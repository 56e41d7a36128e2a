"""Stands between clients and one TCP server on this machine, and can become any bad connection to it.

What goes wrong with single HTTP requests (a status, an answer that is lost, a request that arrives twice) is in
`tests/blocks/stores/faults.py`.
"""

import selectors
import socket
import socketserver
import threading
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Literal, NamedTuple, Self

CHUNK = 65536
LOOK_SECONDS = 0.05
"""How soon a connection that has nothing to pass on sees that the proxy behaves in another way now."""


class Behaviour(NamedTuple):
    """How connections fare, those that stand and new ones alike."""

    kind: Literal["pass", "refuse", "hang", "cut", "late", "slow"]
    after_bytes: int = 0
    """Cut: how much of the server's answers still comes through on each connection."""
    seconds: float = 0
    """Late: how long each part of an answer is kept."""
    bytes_per_second: int = 0
    """Slow: how much passes on each connection, both ways together."""


PASS = Behaviour("pass")


class FaultProxy:
    """A context manager; it lets everything pass until it is told otherwise, and again after `mend`."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._behaviour = PASS
        self._changed = threading.Condition()
        self._connections: set[socket.socket] = set()
        self._listener = self._listen()
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(LOOK_SECONDS,), name="fault proxy")
        self.turned_away = 0
        """How many connections since it refused last."""

    @property
    def port(self) -> int:
        return int(self._listener.server_address[1])

    def refuse(self) -> None:
        """Every connection is cut, and each new one turned away."""
        self.turned_away = 0
        self._behave(Behaviour("refuse"))
        self._cut_all()

    def hang(self) -> None:
        """Connections are taken and nothing passes; once it is mended, what was sent meanwhile does."""
        self._behave(Behaviour("hang"))

    def cut(self, after_bytes: int) -> None:
        """A connection ends when so much of the server's answers came through it from now on."""
        self._behave(Behaviour("cut", after_bytes=after_bytes))

    def answer_late(self, seconds: float) -> None:
        self._behave(Behaviour("late", seconds=seconds))

    def slow_down(self, bytes_per_second: int) -> None:
        self._behave(Behaviour("slow", bytes_per_second=bytes_per_second))

    def mend(self) -> None:
        self._behave(PASS)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    def _behave(self, behaviour: Behaviour) -> None:
        with self._changed:
            self._behaviour = behaviour
            self._changed.notify_all()

    def _cut_all(self) -> None:
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _listen(self) -> socketserver.ThreadingTCPServer:
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                proxy._serve(self.request)

        return socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)

    def _serve(self, client: socket.socket) -> None:
        if self._behaviour.kind == "refuse":
            self.turned_away += 1
            return
        with ExitStack() as ending, socket.create_connection(("127.0.0.1", self._server_port)) as server:
            for connection in (client, server):
                self._connections.add(connection)
                ending.callback(self._connections.discard, connection)
            with suppress(OSError):
                self._pass_on(client, server)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        """Until one of them ends, or the proxy cuts them."""
        answered = 0
        with selectors.DefaultSelector() as readable:
            readable.register(client, selectors.EVENT_READ, server)
            readable.register(server, selectors.EVENT_READ, client)
            while self._wait_while("hang") != "refuse":
                for key, _ in readable.select(LOOK_SECONDS):
                    part = key.fileobj.recv(CHUNK)  # type: ignore[union-attr]
                    if not part:
                        return
                    self._wait_while("hang")
                    self._keep_pace(len(part))
                    if key.fileobj is server:
                        answered += len(part)
                        part = self._late_or_cut(part, answered)
                    key.data.sendall(part)
                    if self._behaviour.kind == "cut" and answered >= self._behaviour.after_bytes:
                        return

    def _wait_while(self, kind: str) -> str:
        """The kind that it is afterwards."""
        with self._changed:
            self._changed.wait_for(lambda: self._behaviour.kind != kind)
            return self._behaviour.kind

    def _keep_pace(self, size: int) -> None:
        behaviour = self._behaviour
        if behaviour.kind == "slow":
            self._keep(behaviour, size / behaviour.bytes_per_second)

    def _keep(self, behaviour: Behaviour, seconds: float) -> None:
        """For so long, or until it behaves in another way."""
        with self._changed:
            self._changed.wait_for(lambda: self._behaviour != behaviour, seconds)

    def _late_or_cut(self, part: bytes, answered: int) -> bytes:
        """What of it is passed on now, after it was kept for as long as it has to be."""
        behaviour = self._behaviour
        if behaviour.kind == "late":
            self._keep(behaviour, behaviour.seconds)
        if behaviour.kind == "cut":
            return part[: max(0, len(part) - (answered - behaviour.after_bytes))]
        return part
