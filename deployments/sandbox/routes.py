"""Which replica the next request goes to, and which requests are under way where."""

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Backend:
    release_id: str
    port: int


class Rotation:
    """Smooth weighted round-robin: with 10 percent it is every tenth request, evenly spread."""

    def __init__(self, split: dict[str, int]) -> None:
        self.split = split
        self._credit = dict.fromkeys(split, 0)

    def next(self) -> str:
        for release_id, percent in self.split.items():
            self._credit[release_id] += percent
        chosen = max(self._credit, key=self._credit.__getitem__)
        self._credit[chosen] -= sum(self.split.values())
        return chosen


class Routes:
    def __init__(self, split: dict[str, int]) -> None:
        self.in_maintenance = False
        """Nobody is let in."""
        self._rotation = Rotation(split)
        self._ports: dict[str, deque[int]] = {}
        self._under_way: Counter[Backend] = Counter()

    def shift(self, split: dict[str, int]) -> None:
        """For every request from now on; repeating a split does not disturb its rotation."""
        if split != self._rotation.split:
            self._rotation = Rotation(split)

    def add(self, backend: Backend) -> None:
        self._ports.setdefault(backend.release_id, deque()).append(backend.port)

    def remove(self, backend: Backend) -> None:
        ports = self._ports.get(backend.release_id, deque())
        if backend.port in ports:
            ports.remove(backend.port)

    def reach(self, release_id: str) -> bool:
        return bool(self._ports.get(release_id))

    def next(self) -> list[Backend]:
        """Where the next request goes; after the first, where it may go if that cannot be reached.

        Empty when no release has traffic, or none of those has a replica.
        """
        if not self._rotation.split:
            return []
        first = self._rotation.next()
        others = [release_id for release_id in self._rotation.split if release_id != first]
        return [backend for release_id in (first, *others) for backend in self._replicas(release_id)]

    def _replicas(self, release_id: str) -> list[Backend]:
        ports = self._ports.get(release_id, deque())
        ports.rotate(-1)
        return [Backend(release_id, port) for port in ports]

    @property
    def has_traffic(self) -> bool:
        return bool(self._rotation.split)

    @contextmanager
    def counted(self, backend: Backend) -> Iterator[None]:
        self._under_way[backend] += 1
        try:
            yield
        finally:
            self._under_way[backend] -= 1
            if not self._under_way[backend]:
                del self._under_way[backend]

    def under_way(self, backend: Backend) -> int:
        return self._under_way[backend]
