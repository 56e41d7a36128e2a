"""Brings one release to what is asked of it, and keeps it there until it is stopped.

starting ── every replica has answered its health check ──▶ running ── stop ──▶ stopped
    └────── a replica ended, or was silent for too long ──▶ failed

A replica of a running release that dies is started again, later each time.
"""

import asyncio
import logging
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import httpx

from deployments.sandbox.checkout import check_out
from deployments.sandbox.config import Config
from deployments.sandbox.logs import read_tail
from deployments.sandbox.processes import begin, created_at, find, free_port, is_alive, kill_group, send
from deployments.sandbox.routes import Backend, Routes
from deployments.sandbox.state import Release, Replica, Store

_logger = logging.getLogger(__name__)

_LOOK_EVERY = 0.1
_FIRST_DELAY, _LONGEST_DELAY = 0.2, 10.0
_SOUND_AFTER = 30.0
"""Seconds that a replica must live for its death to count as the first one again."""
_KILL_WAIT = 5.0


class CannotStart(Exception):
    """A release that was starting will not run."""


class Keeper:
    def __init__(
        self, release: Release, store: Store, routes: Routes, config: Config, client: httpx.AsyncClient
    ) -> None:
        self.release = release
        self._store, self._routes, self._config, self._client = store, routes, config, client
        self._checkout = store.folder / "checkouts" / release.commit
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._began: dict[int, float] = {}
        self._deaths, self._not_before = 0, 0.0
        self._closing = False
        self._wake = asyncio.Event()
        self._adopt()
        self._task = asyncio.create_task(self._run())

    def look(self) -> None:
        """Something else is asked of the release now."""
        self._wake.set()

    @property
    def done(self) -> bool:
        return self._task.done()

    async def ended(self, seconds: float | None) -> None:
        """Return when the release needs no keeping any more, or after so many seconds."""
        await asyncio.wait([self._task], timeout=seconds)

    async def close(self) -> None:
        """End the processes and leave the state: the next daemon starts them again."""
        self._closing = True
        self.look()
        await self.ended(None)

    async def _run(self) -> None:
        try:
            await self._check_out()
            while self.release.alive and not self._closing:
                await self._look()
                await self._pause()
            await self._end(self.release.replicas)
        except CannotStart as error:
            await self._end(self.release.replicas)
            self.release.state, self.release.detail = "failed", str(error)
            self.release.stopping = False
        await self._store.save()

    async def _check_out(self) -> None:
        repository, folder = self._config.repository, self._checkout.parent
        try:
            await asyncio.to_thread(check_out, repository, self.release.commit, folder)
        except (OSError, subprocess.SubprocessError, tarfile.TarError) as error:
            raise CannotStart(f"its files could not be read from the repository: {error}") from error

    def _adopt(self) -> None:
        """Take over the replicas that an earlier daemon began."""
        for replica in self.release.replicas:
            if replica.pid is None:
                find(replica, self._checkout)
            self._began[replica.port] = time.monotonic()
            if replica.ready and is_alive(replica):
                self._routes.add(self._backend(replica))

    async def _look(self) -> None:
        try:
            await (self._stop() if self.release.stopping else self._step())
        except OSError:  # a full disk, for one: the release must not go unwatched for that
            _logger.exception("release %s", self.release.id)

    async def _step(self) -> None:
        self._drop_dead()
        surplus = self.release.replicas[self.release.wanted :]
        if surplus:
            await self._end(surplus)
        while len(self.release.replicas) < self.release.wanted and time.monotonic() >= self._not_before:
            await self._begin_one()
        for replica in [replica for replica in self.release.replicas if not replica.ready]:
            await self._check(replica)

    def _drop_dead(self) -> None:
        for replica in [replica for replica in self.release.replicas if not self._lives(replica)]:
            self._forget(replica)
            self._lost(self._ending(replica), lived=time.monotonic() - self._began[replica.port])

    async def _begin_one(self) -> None:
        taken = {r.port for release in self._store.state.releases.values() for r in release.replicas}
        replica = Replica(port=free_port(taken))
        self._began[replica.port] = time.monotonic()
        self.release.replicas.append(replica)
        await self._store.save()
        try:
            child = begin(self._config.argv, self._checkout, self._log, self.release.variables, replica.port)
        except OSError as error:
            self._forget(replica)
            self._lost(f"its command could not be started: {error.strerror}")
            return
        self._children[replica.port] = child
        replica.pid, replica.created = child.pid, created_at(child.pid)
        await self._store.save()

    async def _check(self, replica: Replica) -> None:
        with suppress(httpx.HTTPError):
            answer = await self._client.get(f"http://127.0.0.1:{replica.port}{self._config.health}")
            replica.ready = answer.status_code == httpx.codes.OK
        if replica.ready:
            self._routes.add(self._backend(replica))
            if all(replica.ready for replica in self.release.replicas):
                self.release.state = "running"
            await self._store.save()
        elif time.monotonic() - self._began[replica.port] > self._config.start_timeout:
            await self._end([replica])
            self._lost(f"no 200 from {self._config.health} within {self._config.start_timeout:g} s")

    def _lost(self, reason: str, lived: float = 0) -> None:
        """A replica is gone: the end of a release that was starting, else tried again later."""
        if self.release.state == "starting":
            raise CannotStart("\n".join([reason, *read_tail(self._log, 10)]))
        self._deaths = 0 if lived > _SOUND_AFTER else self._deaths
        self._not_before = time.monotonic() + min(_FIRST_DELAY * 2**self._deaths, _LONGEST_DELAY)
        self._deaths = min(self._deaths + 1, 10)

    async def _stop(self) -> None:
        await self._end(self.release.replicas)
        self.release.state, self.release.stopping = "stopped", False

    async def _end(self, replicas: list[Replica]) -> None:
        """No new requests, then the ones under way to their end, then the processes."""
        ending, patience = list(replicas), self._config.drain_timeout
        for replica in ending:
            self._routes.remove(self._backend(replica))
        await _until(lambda: not any(self._routes.under_way(self._backend(r)) for r in ending), patience)
        for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, _KILL_WAIT)):
            for replica in ending:
                send(replica, number)
            await _until(lambda: not any(self._lives(replica) for replica in ending), seconds)
        for replica in ending:
            self._forget(replica)

    def _forget(self, replica: Replica) -> None:
        self._routes.remove(self._backend(replica))
        self.release.replicas.remove(replica)

    def _lives(self, replica: Replica) -> bool:
        child = self._children.get(replica.port)
        if child is None:
            return is_alive(replica)
        if child.poll() is not None:
            kill_group(child.pid)
        return child.returncode is None

    def _ending(self, replica: Replica) -> str:
        child = self._children.get(replica.port)
        if child is None:
            return "its process ended while no daemon watched it"
        code = child.returncode
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        return f"its process {how}"

    def _backend(self, replica: Replica) -> Backend:
        return Backend(self.release.id, replica.port)

    @property
    def _log(self) -> Path:
        return self._store.folder / "logs" / f"{self.release.id}.log"

    async def _pause(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), _LOOK_EVERY)
        self._wake.clear()


async def _until(condition: Callable[[], bool], seconds: float) -> None:
    """Return when it holds, or after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
