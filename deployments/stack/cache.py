"""Redis: the cache of the sample service's environments, one database number each. It keeps nothing."""

import redis

from blocks.throwaway_redis import answers, find_redis_program
from deployments.stack.component import Component
from deployments.stack.layout import Layout


def cache(layout: Layout) -> Component:
    folder = layout.state.subfolder("redis")
    port, password = layout.ports["redis"], layout.credentials.redis_password
    settings = {
        "bind": "127.0.0.1",
        "port": str(port),
        "requirepass": password,
        "dir": str(folder),
        "save": '""',
        "appendonly": "no",
        "maxmemory": "64mb",
        "maxmemory-policy": "allkeys-lru",
    }
    configuration = folder / "redis.conf"
    return Component(
        name="redis",
        argv=(str(find_redis_program()), str(configuration)),
        files={configuration: "".join(f"{name} {value}\n" for name, value in settings.items())},
        is_ready=lambda began: _answers(port, password),
        address=f"127.0.0.1:{port}",
    )


def _answers(port: int, password: str) -> bool:
    return answers(redis.Redis(port=port, password=password, socket_timeout=1, socket_connect_timeout=1))
