"""Staging, with migrations of a test's own: SQL files in commits on top of the sample service's repository."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from deployments.apply import ROOT
from tests.running_stack import RunningStack

ENVIRONMENT = "shop-migrated"
FOLDER = "sql"
STAGING = ROOT / "deployments" / "environments" / "shop-staging.yaml"
AUTHOR = ("-c", "user.name=Shop", "-c", "user.email=shop@example.com")


@dataclass(frozen=True)
class Migrations:
    """A clone whose commits each hold one pending migration."""

    repository: Path

    def commit(self, name: str, up: str, down: str = "") -> str:
        """A commit of its own, beside all others; its id."""
        self._git("checkout", "--quiet", "--detach", "v1.1.0")
        folder = self.repository / FOLDER
        folder.mkdir(exist_ok=True)
        (folder / f"001_{name}.up.sql").write_text(up)
        if down:
            (folder / f"001_{name}.down.sql").write_text(down)
        self._git("add", "--all")
        self._git("commit", "--quiet", f"--message={name}")
        return self._git("rev-parse", "HEAD").strip()

    def tag(self, version: str, commit: str) -> None:
        """Also one that stands elsewhere."""
        self._git("tag", "--force", version, commit)

    def _git(self, *arguments: str) -> str:
        command = ["git", "-C", str(self.repository), *AUTHOR, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def clone_for(stack: RunningStack, folder: Path) -> Migrations:
    repository = folder / "repository"
    command = ["git", "clone", "--quiet", "--no-hardlinks", str(stack.layout.repository), str(repository)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return Migrations(repository)


def write_environment(folder: Path, migrations: Migrations, **others: object) -> Path:
    """`others`: parts beside those that migrating needs."""
    content = yaml.safe_load(STAGING.read_text())
    content["environment"] = ENVIRONMENT
    content["source"] = {"type": "git", "folder": str(migrations.repository)}
    content["migrations"] = {
        "type": "sql",
        "folder": FOLDER,
        "patience_seconds": 1,
        "lock_seconds": 0.5,
        "lock_attempts": 2,
    }
    content |= others
    path = folder / f"{ENVIRONMENT}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path
