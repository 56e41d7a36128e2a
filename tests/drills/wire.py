"""PostgreSQL's protocol, as far as somebody who stands in between has to understand it."""

import json
import socket
import struct

_STARTUP_CODES = {80877103, 80877104}
"""Requests for TLS or GSSAPI, which have no type and are answered with one byte."""


def _read(source: socket.socket, size: int) -> bytes:
    content = bytearray()
    while len(content) < size:
        part = source.recv(size - len(content))
        if not part:
            raise EOFError
        content += part
    return bytes(content)


def log_in(client: socket.socket, server: socket.socket) -> bytes:
    """Pass on everything up to where the client may ask; gives back what the server said last."""
    while True:
        (size,) = struct.unpack("!I", head := _read(client, 4))
        body = _read(client, size - 4)
        server.sendall(head + body)
        if struct.unpack("!I", body[:4])[0] not in _STARTUP_CODES:
            return read_until_ready(server, client)
        client.sendall(_read(server, 1))


def read_message(source: socket.socket) -> tuple[bytes, bytes]:
    kind = _read(source, 1)
    (size,) = struct.unpack("!I", _read(source, 4))
    return kind, _read(source, size - 4)


def read_until_ready(server: socket.socket, client: socket.socket | None = None) -> bytes:
    """Everything up to 'ready for the next query'; a client that logs in answers in between."""
    answer = bytearray()
    while True:
        kind, body = read_message(server)
        answer += kind + struct.pack("!I", len(body) + 4) + body
        if kind == b"Z":
            return bytes(answer)
        asks = kind == b"R" and struct.unpack("!I", body[:4])[0] not in (0, 12)
        if asks and client:
            client.sendall(bytes(answer))
            answer.clear()
            reply, content = read_message(client)
            server.sendall(reply + struct.pack("!I", len(content) + 4) + content)


def values_of(bind: bytes) -> list[bytes]:
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


def in_words(statement: bytes, values: list[bytes]) -> str:
    """For people: an event of the trail by its name and what it is about, else the beginning of the statement."""
    if not statement.startswith(b"INSERT INTO audit"):
        return " ".join(statement.decode(errors="replace").split()[:3])
    event, detail = values[5].decode(), json.loads(values[6].lstrip(b"\1"))
    about = detail.get("effect") or detail.get("phase") or detail.get("undo") or ""
    return f"{event} {about}".strip()
