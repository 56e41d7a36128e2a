"""The sample service's own git repository, with a history of good and bad releases.

`service/` is the source tree of the first release. Each release after it is one commit:
`shop/release.py` names its version and defect, and a patch of `changes/` may change more.
"""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

SERVICE = Path(__file__).parent / "service"
CHANGES = Path(__file__).parent / "changes"
NOT_SOURCE = ("__pycache__", ".*_cache")
GIT_SECONDS = 30
FIRST_COMMIT_AT = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
OURS = "backstop.sample"
"""A git setting that marks the repositories made here; no other one is ever replaced."""


@dataclass(frozen=True)
class SampleRelease:
    version: str
    """The tag, and what the service answers as its version."""
    description: str
    fault: str | None = None
    """One of the defects in service/shop/faults.py."""
    patch: str | None = None


RELEASES = (
    SampleRelease("v1.0.0", "Good: the first release."),
    SampleRelease("v1.1.0", "Good: offers show their price as text.", patch="prices_as_text.patch"),
    SampleRelease("v1.2.0", "Good: as before, under another version."),
    SampleRelease("v1.3.0", "Bad: every fifth request to /offers is answered with 500.", fault="errors"),
    SampleRelease("v1.4.0", "Bad: offers and tasks take twice as long.", fault="slow"),
    SampleRelease("v1.5.0", "Bad: /health answers 503 for ever.", fault="unhealthy"),
    SampleRelease("v1.6.0", "Bad: the list of tasks answers 500.", fault="broken"),
    SampleRelease("v2.0.0", "Good, with a migration: tasks may have a due date.", patch="due_dates.patch"),
)
UNTAGGED = SampleRelease("v2.1.0", "Good: not tagged yet, main stands here.")


class NotOurs(Exception):
    """The folder holds something that was not made here. It was left alone."""


def build_repository(folder: Path) -> None:
    """Make the repository, with main checked out. A complete one is left alone, a half-made one made anew.

    The same sources give the same commits. Raises NotOurs when the folder holds anything else, and
    subprocess.SubprocessError when git fails.
    """
    if folder.exists() and any(folder.iterdir()):
        if not _is_ours(folder):
            raise NotOurs(f"{folder} is not empty and is no sample repository. Nothing was changed.")
        if _is_complete(folder):
            return
        shutil.rmtree(folder)

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as aside:
        made = Path(aside, folder.name)
        _make(made)
        made.rename(folder)


def _make(folder: Path) -> None:
    shutil.copytree(SERVICE, folder, ignore=shutil.ignore_patterns(*NOT_SOURCE))
    _git(folder, "init", "--quiet", "--template=", "--initial-branch=main")
    _git(folder, "config", OURS, "true")
    for number, release in enumerate((*RELEASES, UNTAGGED)):
        at = FIRST_COMMIT_AT + timedelta(days=number)
        _write_release(folder, release)
        _git(folder, "add", "--all")
        _git(folder, "commit", "--quiet", f"--message={release.version}: {release.description}", at=at)
        if release is not UNTAGGED:
            _git(folder, "tag", "--annotate", f"--message={release.description}", release.version, at=at)


def _write_release(folder: Path, release: SampleRelease) -> None:
    if release.patch:
        _git(folder, "apply", str(CHANGES / release.patch))
    source = folder / "shop" / "release.py"
    lines = source.read_text().splitlines()
    lines = [line for line in lines if not line.startswith(("VERSION", "FAULT"))]
    fault = f'"{release.fault}"' if release.fault else None
    lines += [f'VERSION: str = "{release.version}"', f"FAULT: str | None = {fault}"]
    source.write_text("\n".join(lines) + "\n")


def _is_ours(folder: Path) -> bool:
    # Not `git config` in the folder: git would look for a repository further up as well.
    try:
        return _git(folder, "config", "--file", str(folder / ".git" / "config"), OURS) == "true"
    except subprocess.CalledProcessError:
        return False


def _is_complete(folder: Path) -> bool:
    try:
        tags = _git(folder, "tag", "--list", "--merged=main").splitlines()
        untagged = _git(folder, "rev-list", "--count", f"{RELEASES[-1].version}..main")
        _git(folder, "fsck", "--connectivity-only")
    except subprocess.CalledProcessError:
        return False
    return {release.version for release in RELEASES} <= set(tags) and untagged != "0"


def _git(folder: Path, *arguments: str, at: datetime = FIRST_COMMIT_AT) -> str:
    """What git printed. Nothing of the user's own configuration takes part."""
    environment = {
        "PATH": os.environ["PATH"],
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_DIR": str(folder / ".git"),
        "GIT_WORK_TREE": str(folder),
    }
    for role in ("AUTHOR", "COMMITTER"):
        environment |= {
            f"GIT_{role}_NAME": "Shop",
            f"GIT_{role}_EMAIL": "shop@example.com",
            f"GIT_{role}_DATE": at.isoformat(),
        }
    return subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=GIT_SECONDS,
    ).stdout.strip()
