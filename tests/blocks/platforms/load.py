"""Clients that ask without pause, and what they were answered."""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx

from tests.blocks.platforms.waiting import eventually


class Load:
    """Clients that keep their connections, and everything that was answered to them."""

    def __init__(self, address: str, clients: int = 4) -> None:
        self.answers: Counter[int | str] = Counter()
        self._address, self._ended = address, threading.Event()
        self._pool = ThreadPoolExecutor(clients)
        self._clients = [self._pool.submit(self._ask) for _ in range(clients)]

    def _ask(self) -> None:
        with httpx.Client(timeout=20, trust_env=False) as client:
            while not self._ended.is_set():
                try:
                    self.answers[client.get(self._address).status_code] += 1
                except httpx.HTTPError as error:
                    self.answers[repr(error)] += 1

    def go_on(self, requests: int) -> None:
        """Return after so many more answers."""
        wanted = self.answers.total() + requests
        eventually(lambda: self.answers.total() >= wanted)

    def end(self) -> None:
        self._ended.set()
        self._pool.shutdown()


@contextmanager
def loaded(address: str) -> Iterator[Load]:
    load = Load(address)
    try:
        yield load
    finally:
        load.end()
