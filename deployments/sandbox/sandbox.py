"""What can be asked of the sandbox. Each change is on disk before it is answered."""

import asyncio
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path

import httpx

from deployments.sandbox.checkout import read_commit
from deployments.sandbox.config import Config
from deployments.sandbox.keeper import Keeper
from deployments.sandbox.refusals import Refusal
from deployments.sandbox.routes import Routes
from deployments.sandbox.state import Release, Store


class Sandbox:
    def __init__(self, folder: Path, config: Config) -> None:
        for name in ("checkouts", "logs"):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        for partial in (folder / "checkouts").glob(".*"):
            shutil.rmtree(partial)
        self.folder, self.config = folder, config
        self.store = Store(folder)
        self.state = self.store.state
        self.routes = Routes(self.state.traffic)
        self.routes.in_maintenance = bool(self.state.maintenance)
        self._client = httpx.AsyncClient(timeout=2, trust_env=False)
        self._keepers: dict[str, Keeper] = {}
        self._changing = asyncio.Lock()

    def adopt(self) -> None:
        """Go on with the releases of an earlier daemon."""
        for release in self.state.releases.values():
            if release.alive:
                self._keep(release)

    async def settled(self) -> None:
        """Return when the releases with traffic answer, or after `start_timeout`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.config.start_timeout
        while not all(map(self.routes.reach, self.state.traffic)) and loop.time() < deadline:
            await asyncio.sleep(0.05)

    async def close(self) -> None:
        """End every process. The next daemon starts the running releases again."""
        await asyncio.gather(*(keeper.close() for keeper in self._keepers.values()))
        await self._client.aclose()

    def read_release(self, release_id: str) -> Release:
        try:
            return self.state.releases[release_id]
        except KeyError:
            raise Refusal(404, f"there is no release {release_id[:80]}") from None

    async def start_release(self, version: str, commit: str, run_id: str) -> Release:
        tagged = await asyncio.to_thread(read_commit, self.config.repository, version)
        if tagged != commit:
            raise Refusal(409, f"tag {version} points to {tagged}, not to {commit}")
        async with self._changing:
            return self._made_before(version, commit, run_id) or await self._make(version, commit, run_id)

    def _made_before(self, version: str, commit: str, run_id: str) -> Release | None:
        asked = (version, commit, run_id)
        made = (r for r in self.state.releases.values() if (r.version, r.commit, r.run_id) == asked)
        return next(made, None) if run_id else None

    async def _make(self, version: str, commit: str, run_id: str) -> Release:
        number = self.state.made + 1
        slug = re.sub(r"[^a-z0-9]+", "-", version.lower()).strip("-")
        release = Release(
            id=f"{slug}-{number}",
            version=version,
            commit=commit,
            run_id=run_id,
            created_at=datetime.now(UTC),
            variables=dict(self.state.variables),
        )
        await self.store.change(made=number, releases=self.state.releases | {release.id: release})
        self._keep(release)
        return release

    async def scale_release(self, release_id: str, replicas: int) -> Release:
        async with self._changing:
            release = self.read_release(release_id)
            if release.stopping:
                raise Refusal(409, f"release {release_id} is being stopped")
            release.wanted = replicas
            if not release.alive:
                await self._let_go(release_id)
                release.state, release.detail = "starting", ""
                release.variables = dict(self.state.variables)
            await self.store.save()
            self._keep(release)
            return release

    async def stop_release(self, release_id: str, wait: float | None) -> None:
        """Return when it is stopped, or after `wait` seconds while it goes on stopping."""
        async with self._changing:
            release = self.state.releases.get(release_id)
            if release is None or not release.alive:
                return
            if release_id in self.state.traffic:
                raise Refusal(409, f"release {release_id} has {self.state.traffic[release_id]} % of the traffic")
            release.stopping = True
            await self.store.save()
            keeper = self._keepers[release_id]
        keeper.look()
        await keeper.ended(wait)

    async def shift_traffic(self, split: dict[str, int]) -> None:
        async with self._changing:
            for release_id in split:
                release = self.read_release(release_id)
                if release.state != "running" or release.stopping:
                    state = "being stopped" if release.stopping else release.state
                    raise Refusal(409, f"release {release_id} is {state}, not running")
            await self.store.change(traffic=dict(split))
            self.routes.shift(self.state.traffic)

    async def set_maintenance(self, by: str) -> None:
        async with self._changing:
            await self.store.change(maintenance=by)
            self.routes.in_maintenance = bool(by)

    async def set_variables(self, variables: dict[str, str]) -> None:
        async with self._changing:
            await self.store.change(variables=dict(variables))

    async def _let_go(self, release_id: str) -> None:
        """Its keeper may still be writing down how the release ended."""
        if keeper := self._keepers.get(release_id):
            await keeper.ended(None)

    def _keep(self, release: Release) -> None:
        keeper = self._keepers.get(release.id)
        if keeper is None or keeper.done:
            self._keepers[release.id] = Keeper(release, self.store, self.routes, self.config, self._client)
        else:
            keeper.look()
