"""Stands between a client and a server on this machine, and can part them."""

import selectors
import socket
import socketserver
import threading
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Self


class Proxy:
    """A context manager. Where it is parted, every connection is cut and each new one turned away."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._parted = threading.Event()
        self._connections: set[socket.socket] = set()
        self._listener = self._listen()
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.05,), name="proxy")
        self.turned_away = 0
        """How many connections since it was parted last."""

    @property
    def port(self) -> int:
        return int(self._listener.server_address[1])

    def part(self) -> None:
        self.turned_away = 0
        self._parted.set()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def join(self) -> None:
        self._parted.clear()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.part()
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    def _listen(self) -> socketserver.ThreadingTCPServer:
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                proxy._serve(self.request)

        return socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)

    def _serve(self, client: socket.socket) -> None:
        if self._parted.is_set():
            self.turned_away += 1
            return
        with ExitStack() as ending, socket.create_connection(("127.0.0.1", self._server_port)) as server:
            for connection in (client, server):
                self._connections.add(connection)
                ending.callback(self._connections.discard, connection)
            with suppress(OSError):
                _pass_on(client, server)


def _pass_on(client: socket.socket, server: socket.socket) -> None:
    """Until one of them ends."""
    with selectors.DefaultSelector() as readable:
        readable.register(client, selectors.EVENT_READ, server)
        readable.register(server, selectors.EVENT_READ, client)
        while True:
            for key, _ in readable.select():
                received = key.fileobj.recv(65536)  # type: ignore[union-attr]
                if not received:
                    return
                key.data.sendall(received)
