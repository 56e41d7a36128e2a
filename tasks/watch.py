"""Looks at a release from outside: its metrics, its health and its visitors' paths, all at
once, so that one part that hangs delays no other.
"""

import contextlib
import itertools
import math
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from queue import Empty, SimpleQueue
from threading import Event
from types import TracebackType
from typing import Any, NamedTuple, Self

from blocks.bounded_get import bounded_get
from blocks.errors import BackstopError, Unreachable
from blocks.limits import Limits
from blocks.metrics.interface import Metrics, Sample
from blocks.platforms.interface import Release
from tasks.verdict import Look

HTTP_TIMEOUT = 2.0
MOST_BYTES = 10_000_000


class Subject(NamedTuple):
    """What is watched."""

    metrics: Metrics
    release: Release
    control: list[Release]
    """The releases that have traffic beside it; empty when it has all."""
    health_path: str


class Watch:
    """A context manager: at its end no thread is left. It then waits for what is under way,
    at most for the time limit of one read.
    """

    def __init__(self, subject: Subject, limits: Limits) -> None:
        self._metrics, self._release, self._control, self._health_path = subject
        self._limits = limits
        self._due = time.monotonic()
        self._samples: dict[str, Future[Sample]] = {}
        self._health: Future[None] | None = None
        self._probed: SimpleQueue[bool] = SimpleQueue()
        self._closing = Event()

    def __enter__(self) -> Self:
        hanging_probes = math.ceil(self._limits.probes_per_second * HTTP_TIMEOUT) if self._limits.probes else 0
        self._looks = ThreadPoolExecutor(len(self._control) + 2, "look")
        self._probes = ThreadPoolExecutor(1 + hanging_probes, "probe")
        if self._limits.probes:
            self._probes.submit(self._send_probes)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        for pool in (self._looks, self._probes):
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in (self._looks, self._probes):
            pool.shutdown(wait=True)

    def look(self) -> Look:
        """The next look, when it is due. What does not answer within an interval is left out
        of this look and belongs to the one in which it answers.
        """
        interval = self._limits.read_interval
        self._closing.wait(max(0.0, self._due - time.monotonic()))
        self._due = time.monotonic() + interval
        wait(self._ask(), timeout=interval)
        return self._collect()

    def _ask(self) -> list[Future[Any]]:
        """One read of a kind at a time: a part that hangs must not gather threads."""
        for release in (self._release, *self._control):
            if release.id not in self._samples:
                self._samples[release.id] = self._looks.submit(self._metrics.read_sample, release)
        if self._health is None:
            self._health = self._looks.submit(self._check_health)
        return [*self._samples.values(), self._health]

    def _collect(self) -> Look:
        trouble: list[str] = []
        samples: dict[str, Sample] = {}
        for release_id, future in list(self._samples.items()):
            if future.done():
                del self._samples[release_id]
                if error := _failure(future):
                    trouble += [str(error)] if release_id == self._release.id else []
                else:
                    samples[release_id] = future.result()
        healthy = None
        if self._health is not None and self._health.done():
            error = _failure(self._health)
            healthy = error is None
            trouble += [str(error)] if error else []
            self._health = None
        release = samples.pop(self._release.id, None)
        return Look(time.monotonic(), release, samples, healthy, self._ended_probes(), " ".join(trouble))

    def _check_health(self) -> None:
        status = self._get(self._health_path)
        if not 200 <= status < 300:
            raise Unreachable(f"{self._health_path} answers {status}.")

    def _send_probes(self) -> None:
        for path in itertools.cycle(self._limits.probes):
            if self._closing.wait(1 / self._limits.probes_per_second):
                return
            self._probes.submit(self._probe, path)

    def _probe(self, path: str) -> None:
        """A probe fails as a visitor's request does: status 500 or more, or no answer."""
        try:
            self._probed.put(self._get(path) < 500)
        except Unreachable:
            self._probed.put(False)

    def _ended_probes(self) -> list[bool]:
        ended: list[bool] = []
        with contextlib.suppress(Empty):
            while True:
                ended.append(self._probed.get_nowait())
        return ended

    def _get(self, path: str) -> int:
        if self._release.url is None:
            raise Unreachable(f"Release {self._release.id} has no address.")
        return bounded_get(self._release.url.rstrip("/") + path, HTTP_TIMEOUT, MOST_BYTES).status


def _failure(future: Future[Any]) -> BackstopError | None:
    """Why it gave nothing; anything else than a foreseen error is raised."""
    error = future.exception()
    if error is None or isinstance(error, BackstopError):
        return error
    raise error
