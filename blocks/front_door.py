"""One address for visitors, whatever stands behind it: what DNS or a load balancer outside of a region is."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

_CHUNK = 65536
_CONNECT_SECONDS = 2


class FrontDoor:
    """On a port of 127.0.0.1. A visitor for whom nobody is there is turned away."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._behind: tuple[str, int] | None = None
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    def lead_to(self, url: str) -> None:
        """Every visitor who comes from now on."""
        parts = urlsplit(url)
        self._behind = (str(parts.hostname), int(parts.port or 80))

    def serve(self) -> None:
        """Until the listener is closed."""
        with suppress(OSError):
            while True:
                visitor, _ = self._listener.accept()
                threading.Thread(target=self._let_in, args=(visitor,), daemon=True).start()

    def _let_in(self, visitor: socket.socket) -> None:
        with visitor, suppress(OSError):
            if self._behind is None:
                return
            with socket.create_connection(self._behind, _CONNECT_SECONDS) as behind:
                behind.settimeout(None)
                answers = threading.Thread(target=_pass_on, args=(behind, visitor), daemon=True)
                answers.start()
                _pass_on(visitor, behind)
                answers.join()


@contextmanager
def front_door() -> Iterator[FrontDoor]:
    """It leads nowhere at first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        door = FrontDoor(listener)
        serving = threading.Thread(target=door.serve, daemon=True)
        serving.start()
        try:
            yield door
        finally:
            listener.shutdown(socket.SHUT_RDWR)  # closing alone does not end a thread that waits in accept
            serving.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """Until one of both ends."""
    with suppress(OSError):
        while chunk := source.recv(_CHUNK):
            target.sendall(chunk)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
