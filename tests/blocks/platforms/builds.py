"""A git repository with versions of the stub service, made by the test that deploys them."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

STUB = Path(__file__).with_name("stub.py")


@dataclass(frozen=True)
class Build:
    version: str
    commit: str


def make_builds(repository: Path, *versions: str) -> list[Build]:
    """One commit and tag a version; a version with "broken" in it ends when it is started."""
    repository.mkdir()
    git(repository, "init", "--quiet")
    shutil.copy(STUB, repository / "stub.py")
    return [_make(repository, version) for version in versions]


def _make(repository: Path, version: str) -> Build:
    (repository / "VERSION").write_text(version)
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", version)
    git(repository, "tag", version)
    return Build(version, git(repository, "rev-parse", "HEAD"))


def git(repository: Path, *arguments: str) -> str:
    author = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(repository), *author, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout.strip()
