"""Where releases come from: a git repository, with its tags and its CI."""

import subprocess
from pathlib import Path

import httpx
from prefect.blocks.core import Block
from pydantic import Field

from blocks.errors import RefusedByPlatform, Unreachable
from blocks.reference import Address, Secret, resolve

_GIT_SECONDS = 30


class GitRepository(Block):
    """A git repository on this machine, and the CI that tests its commits."""

    _block_type_name = "Git repository"
    _block_type_slug = "git-repository"
    _description = "A clone of the service's repository, the remote that its tags go to, and the CI of its commits."

    folder: str = Field(description="Folder of the repository or of a clone of it; may be a reference.")
    remote: str = Field(default="", pattern=r"^[A-Za-z0-9_.-]*$", description="Remote that tags are pushed to.")
    ci_url: Address | None = Field(
        default=None, description="API address of the repository at its host, as https://…/repos/OWNER/NAME."
    )
    ci_token: Secret | None = Field(default=None, description="Reference to a token that may read check runs.")

    def read_commit(self, revision: str) -> str | None:
        """The full commit id that a tag or revision names; None when there is none."""
        found = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        return found.stdout.strip() or None

    def read_tag(self, version: str) -> str | None:
        """The commit that the tag stands on; None when there is no such tag."""
        return self.read_commit(f"refs/tags/{version}")

    def read_changes(self, old: str, new: str) -> list[str]:
        """Subjects of the commits in `new` that `old` has not, newest first, 50 at most."""
        log = self._git("log", "--max-count=50", "--format=%h %s", "--end-of-options", f"{old}..{new}")
        return log.stdout.splitlines()

    def create_tag(self, version: str, commit: str, message: str) -> None:
        """An annotated tag, pushed when there is a remote. Repeating it changes nothing."""
        if self.read_tag(version) is None:
            author = ("-c", "user.name=Backstop", "-c", "user.email=backstop@localhost")
            self._must(*author, "tag", "--annotate", "--message", message, "--end-of-options", version, commit)
        if self.remote:
            self._must("push", "--quiet", self.remote, f"refs/tags/{version}")

    def delete_tag(self, version: str) -> None:
        """Here and at the remote. Repeating it changes nothing."""
        if self.read_tag(version) is not None:
            self._must("tag", "--delete", "--end-of-options", version)
        if self.remote:
            self._must("push", "--quiet", self.remote, f":refs/tags/{version}")

    def read_failing_checks(self, commit: str) -> list[str] | None:
        """Names of the commit's CI checks that are not green; None when no CI is configured.

        Raises Unreachable. A commit without any check counts as not green.
        """
        if self.ci_url is None:
            return None
        headers = {"Authorization": f"Bearer {resolve(self.ci_token)}"} if self.ci_token else {}
        url = f"{resolve(self.ci_url).rstrip('/')}/commits/{commit}/check-runs"
        try:
            answer = httpx.get(url, params={"per_page": 100}, headers=headers, timeout=10)
            answer.raise_for_status()
            checks = answer.json()["check_runs"]
        except (httpx.HTTPError, ValueError, LookupError) as error:
            raise Unreachable(f"The CI at {self.ci_url} does not answer ({type(error).__name__}).") from None
        green = ("success", "neutral", "skipped")
        return [check["name"] for check in checks if check["conclusion"] not in green] or (
            [] if checks else ["no check has run"]
        )

    def _must(self, *arguments: str) -> None:
        done = self._git(*arguments)
        if done.returncode:
            raise RefusedByPlatform(f"git {arguments[-3]} failed: {done.stderr.strip()[:200]}")

    def _git(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = ["git", "-C", str(Path(resolve(self.folder))), *arguments]
        try:
            return subprocess.run(command, capture_output=True, text=True, timeout=_GIT_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unreachable(f"git does not answer ({type(error).__name__}).") from None
