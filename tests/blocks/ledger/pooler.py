"""What a transaction pooler looks like to its client: a proxy that hands out backend keys of its own."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

BACKEND_KEY_DATA = b"K"


@contextmanager
def running_pooler(server_port: int) -> Iterator[int]:
    """Its port. It takes one client, which must not ask for TLS."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_serve, args=(listener, server_port))
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def _serve(listener: socket.socket, server_port: int) -> None:
    client, _ = listener.accept()
    with client, socket.create_connection(("127.0.0.1", server_port)) as server:
        upstream = threading.Thread(target=_copy, args=(client, server))
        upstream.start()
        with suppress(OSError):
            while message := _read_message(server):
                client.sendall(_with_another_key(message))
        upstream.join()


def _copy(client: socket.socket, server: socket.socket) -> None:
    with suppress(OSError):
        while content := client.recv(65536):
            server.sendall(content)
    server.shutdown(socket.SHUT_RDWR)


def _read_message(server: socket.socket) -> bytes:
    """One message: a letter, four bytes of length, the rest; empty at the end."""
    head = server.recv(5, socket.MSG_WAITALL)
    if len(head) < 5:
        return b""
    (length,) = struct.unpack("!i", head[1:])
    return head + server.recv(length - 4, socket.MSG_WAITALL)


def _with_another_key(message: bytes) -> bytes:
    if not message.startswith(BACKEND_KEY_DATA):
        return message
    return message[:5] + struct.pack("!i", 999_999) + message[9:]
