"""The sample service in production, as a test prepares it and looks at it."""

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg

from blocks.platforms.interface import Release, Split
from blocks.platforms.sandbox import SandboxPlatform
from deployments.shop.visits import Visit, failures_without_fault, read_visits
from tests.blocks.platforms.waiting import eventually
from tests.running_stack import RunningStack

GOOD = "v1.0.0"
START_SECONDS = 40


@dataclass(frozen=True)
class Production:
    stack: RunningStack
    token: Path
    """File that holds the platform's token."""

    @property
    def platform(self) -> SandboxPlatform:
        return SandboxPlatform(url=self.stack.layout.control_url("production"), token=f"file:{self.token}", timeout=5)

    @property
    def repository(self) -> Path:
        return self.stack.layout.repository

    def reset(self) -> None:
        """All traffic on the good release, nothing else running, and the schema is the first one's."""
        good = next(
            (one for one in self.platform.read_releases() if one.version == GOOD and one.state != "failed"), None
        )
        if good is None:
            good = self.start(GOOD)
        self.run_alone(good.id)
        with self.connect() as connection:
            connection.execute("ALTER TABLE tasks DROP COLUMN IF EXISTS due_on")
            connection.execute("UPDATE alembic_version SET version_num = '0001' WHERE version_num <> '0001'")

    def run_alone(self, release_id: str) -> None:
        """With all traffic; every other release is stopped."""
        if self.release(release_id).state == "stopped":
            self.platform.scale_release(release_id, 1)
        self._wait_until_running(release_id)
        self.give_traffic({release_id: 100})
        for release in self.platform.read_releases():
            if release.id != release_id and release.state in ("starting", "running"):
                self.platform.stop_release(release.id)
        eventually(lambda: self.running() == {release_id}, START_SECONDS)

    def has_due_dates(self) -> bool:
        """Whether its schema is the second one."""
        statement = "SELECT 1 FROM information_schema.columns WHERE table_name = 'tasks' AND column_name = 'due_on'"
        with self.connect() as connection:
            return connection.execute(statement).fetchone() is not None

    def connect(self) -> psycopg.Connection:
        """To its database, as its owner."""
        url = self.stack.layout.database_url("shop_production")
        return psycopg.connect(url, autocommit=True, connect_timeout=5)

    def start(self, version: str) -> Release:
        """A new release of the version, running, without traffic."""
        release = self.platform.start_release(version, self.commit(version), "")
        self._wait_until_running(release.id)
        return self.release(release.id)

    def release(self, release_id: str) -> Release:
        return next(one for one in self.platform.read_releases() if one.id == release_id)

    def newest(self, version: str) -> Release:
        return next(one for one in self.platform.read_releases() if one.version == version)

    def running(self) -> set[str]:
        return {one.id for one in self.platform.read_releases() if one.state in ("starting", "running")}

    def traffic(self) -> Split:
        return self.platform.read_traffic()

    def give_traffic(self, split: Split) -> None:
        self.platform.shift_traffic(split)

    def look(self) -> tuple[Split, dict[str, str], dict[str, str]]:
        """Everything that a procedure could change: the traffic, each release's state, the tags."""
        return self.traffic(), {one.id: one.state for one in self.platform.read_releases()}, self.tags()

    def tags(self) -> dict[str, str]:
        """Version → commit."""
        lines = self.git("for-each-ref", "--format=%(refname:short) %(*objectname)", "refs/tags").splitlines()
        return dict(line.split() for line in lines)

    def commit(self, revision: str) -> str:
        return self.git("rev-parse", f"{revision}^{{commit}}")

    def git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.repository), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()

    def answering_version(self) -> str:
        """What the front door's visitors meet."""
        url = self.stack.layout.front_url("production")
        return str(httpx.get(f"{url}/version", timeout=5, trust_env=False).json()["version"])

    def unplanned_failures(self, since: float) -> list[Visit]:
        """What failed for a visitor since then without a bad release's own fault. Somebody must have visited."""
        visits = list(read_visits(self.stack.state.folder / "visitors.jsonl", since))
        assert len(visits) > time.time() - since, "hardly anybody visited"
        return failures_without_fault(visits)

    def _wait_until_running(self, release_id: str) -> None:
        eventually(lambda: self.release(release_id).state != "starting", START_SECONDS)
        assert self.release(release_id).state == "running", self.release(release_id).detail
