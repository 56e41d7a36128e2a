"""The starts of programs, of which a process tells before and after each: they are moments, too."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any

from tests.drills.moments import Recorder

_SECONDS = 30


def tell_of_starts(port: int) -> None:
    """In the process that is watched: each start is told there, and goes on when it is answered."""
    start = subprocess.Popen._execute_child  # type: ignore[attr-defined]

    def start_watched(popen: Any, args: Any, *others: Any) -> None:
        words = [args] if isinstance(args, str) else [str(word) for word in args]
        with socket.create_connection(("127.0.0.1", port), _SECONDS) as told:
            told.sendall(Path(words[0]).name.encode() + b"\n")
            told.recv(1)
            start(popen, args, *others)
            told.sendall(b"\n")
            told.recv(1)

    subprocess.Popen._execute_child = start_watched  # type: ignore[attr-defined]


@contextmanager
def watching_starts(recorder: Recorder) -> Iterator[int]:
    """The port where they are told."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            with suppress(EOFError, OSError), self.request.makefile("rb") as heard:
                with recorder.cross("program", heard.readline().decode().strip()):
                    self.request.sendall(b"\n")
                    heard.readline()
                self.request.sendall(b"\n")

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        serving = Thread(target=server.serve_forever, args=(0.05,), name="program starts", daemon=True)
        serving.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            serving.join(_SECONDS)
