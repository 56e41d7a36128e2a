"""A free port for every part. One that was given before is kept while nobody else took it."""

import random
import socket
from collections.abc import Mapping, Set

from blocks.errors import Refused

_CANDIDATES = range(20000, 32000)
"""Below the range that Linux gives to outgoing connections: none of those can be in the way."""
_WELL_KNOWN = {"server": 4200}
_TRIES = 500


def choose_ports(names: Set[str], before: Mapping[str, int], in_use: Set[str]) -> dict[str, int]:
    """Name → port. Those of `in_use` keep theirs untested: their own part listens there."""
    chosen = {name: before[name] for name in names & in_use & before.keys()}
    for name in sorted(names - chosen.keys()):
        wishes = [before[name]] if name in before else []
        wishes += [_WELL_KNOWN[name]] if name in _WELL_KNOWN else []
        taken = {*chosen.values(), *before.values()} - set(wishes)
        chosen[name] = _first_free([*wishes, *random.sample(_CANDIDATES, _TRIES)], taken)
    return chosen


def _first_free(ports: list[int], taken: set[int]) -> int:
    for port in ports:
        if port not in taken and is_free(port):
            return port
    raise Refused("No port is free on 127.0.0.1.")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do; without it a port that was closed a minute ago would count as taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
