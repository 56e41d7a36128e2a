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
    _git(repository, "init", "--quiet")
    shutil.copy(STUB, repository / "stub.py")
    return [_make(repository, version) for version in versions]


def _make(repository: Path, version: str) -> Build:
    (repository / "VERSION").write_text(version)
    _git(repository, "add", ".")
    author = ("-c", "user.name=Test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")
    _git(repository, *author, "commit", "--quiet", "-m", version)
    _git(repository, "tag", version)
    return Build(version, _git(repository, "rev-parse", "HEAD"))


def _git(repository: Path, *arguments: str) -> str:
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout.strip()
