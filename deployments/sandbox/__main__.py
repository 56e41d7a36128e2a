"""python -m deployments.sandbox --folder FOLDER: the sandbox platform of one environment.

SIGTERM and SIGINT end it and its releases. Killed, it leaves them running, and the next
one goes on with them.
"""

import argparse
import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from deployments.sandbox.config import Config, read_config, read_token
from deployments.sandbox.control import Control, control_api
from deployments.sandbox.front_door import FrontDoor
from deployments.sandbox.sandbox import Sandbox
from deployments.sandbox.state import lock

_KEPT_ALIVE = 75


def main() -> int:
    arguments = argparse.ArgumentParser(prog="python -m deployments.sandbox")
    arguments.add_argument("--folder", type=Path, required=True)
    folder = arguments.parse_args().folder.resolve()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    try:
        config, token = read_config(folder), read_token()
        with lock(folder):
            asyncio.run(_serve(folder, config, token))
    except BlockingIOError:
        return _complain(f"Another daemon holds {folder}. Stop that one first.")
    except (OSError, ValueError) as error:
        return _complain(f"The sandbox cannot start: {error}")
    return 0


def _complain(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


async def _serve(folder: Path, config: Config, token: str) -> None:
    sockets = [_listener(port) for port in (config.front_port, config.control_port)]
    sandbox = Sandbox(folder, config)
    control = Control(sandbox)
    front_door = FrontDoor(sandbox.routes, config.answer_timeout)
    servers = [_server(front_door, config), _server(control_api(control, token), config)]
    sandbox.adopt()
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)

    async with asyncio.TaskGroup() as serving:
        for server, listener in zip(servers, sockets, strict=True):
            serving.create_task(server.serve(sockets=[listener]))
        settling = serving.create_task(_settle(sandbox, control))
        await ended.wait()
        settling.cancel()
        for server in servers:
            server.should_exit = True
    await sandbox.close()
    await front_door.close()


def _listener(port: int) -> socket.socket:
    """Raises OSError when the port is taken.

    The protocol is named because asyncio switches Nagle's delay off only where it is: left
    out, an answer's headers and body would arrive 40 ms apart.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener


async def _settle(sandbox: Sandbox, control: Control) -> None:
    await sandbox.settled()
    control.ready = True


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Two servers share this process, which handles its signals itself."""
        yield


def _server(app: ASGIApp, config: Config) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            backlog=2048,
            timeout_keep_alive=_KEPT_ALIVE,
            timeout_graceful_shutdown=max(1, round(config.drain_timeout)),
        )
    )


if __name__ == "__main__":
    sys.exit(main())
