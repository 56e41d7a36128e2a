"""Where releases come from: a git repository, with its tags and its CI."""

import os
import signal
import subprocess
import tarfile
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from blocks.errors import RefusedByPlatform, Unreachable
from blocks.part import Part
from blocks.rate_limit import read_wait_of_github
from blocks.reference import Address, Secret, resolve
from blocks.sources.github_checks import read_not_green
from blocks.surroundings import of_git
from blocks.unpack import unpack
from blocks.vendor_api import VendorApi

_GIT_SECONDS = 30
_CI_SECONDS = 10
_LONGEST_TITLE = 256


class GitRepository(Part):
    """A git repository on this machine, and the CI that tests its commits."""

    _block_type_name = "Git repository"
    _block_type_slug = "git-repository"
    _description = "A clone of the service's repository, the remote that its tags go to, and the CI of its commits."

    folder: str = Field(description="Folder of the repository or of a clone of it; may be a reference.")
    remote: str = Field(
        default="", pattern=r"^([A-Za-z0-9_.][A-Za-z0-9_.-]*)?$", description="Remote that tags are pushed to."
    )
    ci_url: Address | None = Field(
        default=None, description="API address of the repository at its host, as https://…/repos/OWNER/NAME."
    )
    ci_token: Secret | None = Field(
        default=None, description="Reference to a token that may read checks, commit statuses and workflow runs."
    )
    issues: bool = Field(
        default=False,
        description="Whether a rollback opens an issue there, for its cause; the token has to be allowed to.",
    )

    @model_validator(mode="after")
    def _needs_its_host(self) -> Self:
        if (self.issues or self.ci_token) and not self.ci_url:
            raise ValueError("`issues` and `ci_token` need `ci_url`")
        return self

    def read_address(self) -> str:
        """Where it can be cloned from: its remote's address; without a remote the folder itself."""
        if not self.remote:
            return resolve(self.folder)
        found = self._git("remote", "get-url", self.remote)
        if found.returncode:
            raise RefusedByPlatform(f"git knows no remote {self.remote}.")
        return found.stdout.strip()

    def fetch_tags(self) -> None:
        """Learn the tags that somebody else pushed; without a remote there is nobody else."""
        if self.remote:
            self._must("fetch", "--quiet", "--tags", self.remote)

    def read_remote_head(self) -> str:
        """The commit that its remote's default branch is at. Raises RefusedByPlatform, Unreachable."""
        return self._must("ls-remote", "--exit-code", self.remote, "HEAD").split()[0]

    def read_commit(self, revision: str) -> str | None:
        """The full commit id that a tag or revision names; None when there is none.

        A branch is where its remote has it, as of the last fetch: nobody pulls the clone's own.
        """
        at_remote = self._parse(f"refs/remotes/{self.remote}/{revision}") if self.remote else None
        return at_remote or self._parse(revision)

    def read_tag(self, version: str) -> str | None:
        """The commit that the tag stands on; None when there is no such tag."""
        return self._parse(f"refs/tags/{version}")

    def read_changes(self, old: str, new: str) -> list[str]:
        """Subjects of the commits in `new` that `old` has not, newest first, 50 at most."""
        log = self._git("log", "--max-count=50", "--format=%h %s", "--end-of-options", f"{old}..{new}")
        return log.stdout.splitlines()

    def export(self, commit: str, folder: Path) -> None:
        """Write the files of a commit into an empty folder. Raises RefusedByPlatform when there is no such commit."""
        archive = folder / ".export.tar"
        self.archive(commit, archive)
        with tarfile.open(archive) as files:
            unpack(files, folder)
        archive.unlink()

    def archive(self, commit: str, path: Path) -> None:
        """Write the files of a commit as a tar archive. Raises RefusedByPlatform when there is no such commit."""
        self._must("archive", "--format=tar", f"--output={path}", "--end-of-options", commit)

    def create_tag(self, version: str, commit: str, message: str) -> None:
        """An annotated tag, pushed when there is a remote. Repeating it changes nothing.

        Raises RefusedByPlatform where the tag stands on another commit.
        """
        found = self.read_tag(version)
        if found is None:
            self._must("tag", "--annotate", "--message", message, "--end-of-options", version, commit)
        elif found != commit:
            raise RefusedByPlatform(f"Tag {version} stands on {found[:10]}, not on {commit[:10]}.")
        if self.remote:
            self._must("push", "--quiet", self.remote, f"refs/tags/{version}")

    def delete_tag(self, version: str) -> None:
        """Here and at the remote. Repeating it changes nothing."""
        if self.read_tag(version) is not None:
            self._must("tag", "--delete", "--end-of-options", version)
        if self.remote:
            self._must("push", "--quiet", self.remote, f":refs/tags/{version}")

    def read_failing_checks(self, commit: str) -> list[str] | None:
        """Names of what CI says of the commit that is not green; None when no CI is configured.

        Raises Unreachable. A commit without any check counts as not green.
        """
        if self.ci_url is None:
            return None
        return read_not_green(self._host, commit)

    def open_issue(self, title: str, body: str) -> str:
        """Its address. Raises Unreachable: then nobody knows whether there is one."""
        answer = self._host.call("POST", "/issues", json={"title": title[:_LONGEST_TITLE], "body": body})
        return self._host.parsed(str, answer, "html_url")

    @property
    def _host(self) -> VendorApi:
        return VendorApi(
            named=f"The host of the repository at {self.ci_url}",
            url=self.ci_url or "",
            token=self.ci_token,
            seconds=_CI_SECONDS,
            look="Look at its status page, and whether the address of its API is right.",
            unauthorized="Set the token reference to one that may read checks, statuses and Actions, and open issues.",
            read_reason=lambda refusal: refusal["message"],
            refusal=Unreachable,
            request_id="X-GitHub-Request-Id",
            read_wait=read_wait_of_github,
        )

    def _must(self, verb: str, *arguments: str) -> str:
        """What it says."""
        done = self._git(verb, *arguments)
        if done.returncode:
            raise RefusedByPlatform(f"git {verb} failed: {done.stderr.strip()[:200]}")
        return done.stdout

    def _parse(self, revision: str) -> str | None:
        found = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        return found.stdout.strip() or None

    def _git(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Every revision must stand behind --end-of-options."""
        author = ("-c", "user.name=Backstop", "-c", "user.email=backstop@localhost")
        command = ["git", "-C", str(Path(resolve(self.folder))), *author, *arguments]
        try:
            return _run_whole_group(command, _GIT_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unreachable(f"git does not answer ({type(error).__name__}).") from None


def clone(address: str, folder: Path) -> GitRepository:
    """All branches and tags of it, into a new folder. Raises RefusedByPlatform, Unreachable.

    The address may hold a password: it goes into a file of the clone, not onto a command line.
    """
    cloned = GitRepository(folder=str(folder))
    folder.mkdir(mode=0o700)
    cloned._must("init", "--quiet", "--bare", "--template=")
    escaped = address.replace("\\", "\\\\").replace('"', '\\"')
    with open(folder / "config", "a") as config:
        config.write(f'[remote "origin"]\n\turl = "{escaped}"\n')
    cloned._must("fetch", "--quiet", "--no-auto-gc", "origin", "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
    return cloned


def _run_whole_group(command: list[str], seconds: float) -> "subprocess.CompletedProcess[str]":
    """Ends its children with it: the transport that git starts could push after git was given up."""
    with subprocess.Popen(
        command,
        env=of_git(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        try:
            output, complaint = process.communicate(timeout=seconds)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, complaint)
