"""Run a program where there is no network but a loopback of its own.

`python -P -m blocks.cut_off PORT COMMAND…` prints a port of 127.0.0.1, and passes on to the program's PORT what comes
there. The program reaches files and the sockets that are files, nothing else. Linux only: it takes a network namespace.
"""

import asyncio
import fcntl
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from blocks.errors import BackstopError
from blocks.namespaces import NETWORK, leave
from blocks.postgres.child import Child, running

_SET_FLAGS, _UP = 0x8914, 0x1  # from <linux/sockios.h> and <linux/if.h>
_CHUNK = 65536


class CannotCutOff(BackstopError):
    """This machine does not let us."""

    hint = "It takes Linux, and the right to make a network namespace."


@contextmanager
def cut_off(command: Sequence[str], port: int, variables: dict[str, str], folder: str) -> Iterator[tuple[str, Child]]:
    """The program's URL from outside, and its process. It ends on the way out, or with us. Raises CannotCutOff."""
    started = [sys.executable, "-P", "-m", "blocks.cut_off", str(port), *command]
    with running(started, variables, output=subprocess.PIPE, folder=folder) as child:
        assert child.process.stdout  # noqa: S101 (for mypy)
        with child.process.stdout as output:
            outside = output.readline().decode().strip()
        if not outside.isdigit():
            raise CannotCutOff(f"A program cannot be cut off from the network here: {child.read_complaint()[-200:]}")
        yield f"http://127.0.0.1:{outside}", child


def main(port: int, command: list[str]) -> None:
    # Made before: a socket stays in the network that it was made in.
    outside = socket.create_server(("127.0.0.1", 0))
    try:
        _enter_network_of_its_own()
    except OSError as error:
        sys.exit(str(error))
    print(outside.getsockname()[1], flush=True)
    # Our variables are the ones that it shall have. Its words go where complaints go: nobody reads the other pipe.
    own = dict(os.environ)
    with subprocess.Popen(command, env=own, stdin=subprocess.DEVNULL, stdout=sys.stderr) as program:
        asyncio.run(_pass_on(outside, port, program))


def _enter_network_of_its_own() -> None:
    leave(NETWORK)
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh22x", b"lo", _UP))


async def _pass_on(outside: socket.socket, port: int, program: "subprocess.Popen[bytes]") -> None:
    """Until the program ends."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))

    async with await asyncio.start_server(connected, sock=outside):
        await asyncio.to_thread(program.wait)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
