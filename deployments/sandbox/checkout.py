"""A version's files: the tag's commit, extracted once to FOLDER/checkouts/<commit>."""

import io
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

from blocks.surroundings import of_git
from blocks.unpack import unpack
from deployments.sandbox.refusals import Refusal

_VERSION = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_GIT_TIMEOUT = 60


def read_commit(repository: Path, version: str) -> str:
    """The commit that the tag `version` points to.

    Raises Refusal (422) when the version is not a tag's name, or there is no such tag.
    """
    if not _VERSION.fullmatch(version):
        shown = repr(version if len(version) <= 80 else f"{version[:77]}…")
        raise Refusal(422, f"version was {shown}; allowed: 1 to 64 letters, digits and ._+- without '..'")
    try:
        tag = f"refs/tags/{version}^{{commit}}"
        return _git(repository, "rev-parse", "--verify", "--quiet", tag).decode().strip()
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip()
        raise Refusal(422, f"there is no tag {version} in the repository {reason}".strip()) from None


def check_out(repository: Path, commit: str, folder: Path) -> Path:
    """Extract the commit below `folder` and return where; at once when it is there.

    Raises OSError, subprocess.SubprocessError or tarfile.TarError.
    """
    target = folder / commit
    if target.is_dir():
        return target
    files = _git(repository, "archive", "--format=tar", commit)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".", ignore_cleanup_errors=True) as partial:
        with tarfile.open(fileobj=io.BytesIO(files)) as archive:
            unpack(archive, Path(partial))
        try:
            Path(partial).rename(target)
        except OSError:
            if not target.is_dir():  # else: another release of the same commit was faster
                raise
    return target


def _git(repository: Path, *arguments: str) -> bytes:
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, env=of_git(), check=True, capture_output=True, timeout=_GIT_TIMEOUT).stdout
