"""Tags and commits in real git repositories, with a bare one as the remote."""

import subprocess
from pathlib import Path

import psutil
import pytest
from pydantic import ValidationError

from blocks.errors import RefusedByPlatform, Unreachable
from blocks.sources.git_repository import GitRepository
from tests.blocks.platforms.waiting import eventually


def git(folder: Path, *words: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=Ada", "-c", "user.email=ada@localhost", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout.strip()


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    folder = tmp_path / "remote.git"
    folder.mkdir()
    git(folder, "init", "--quiet", "--bare")
    return folder


@pytest.fixture
def clone(tmp_path: Path, remote: Path) -> Path:
    folder = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(remote), str(folder))
    for number in range(3):
        git(folder, "commit", "--quiet", "--allow-empty", "--message", f"change {number}")
    git(folder, "push", "--quiet", "origin", "HEAD")
    git(folder, "tag", "v1.0.0", "HEAD~2")
    return folder


@pytest.fixture
def repository(clone: Path) -> GitRepository:
    return GitRepository(folder=str(clone), remote="origin")


def head(clone: Path) -> str:
    return git(clone, "rev-parse", "HEAD")


def test_what_tags_and_revisions_stand_on(repository: GitRepository, clone: Path) -> None:
    first = git(clone, "rev-parse", "HEAD~2")
    assert repository.read_tag("v1.0.0") == first
    assert repository.read_commit("v1.0.0") == first
    assert repository.read_commit(first[:10]) == first
    assert repository.read_tag("v9") is None
    assert repository.read_commit("unknown") is None
    assert repository.read_tag(first) is None


def test_a_branch_is_where_its_remote_has_it_though_nobody_pulls(repository: GitRepository, clone: Path) -> None:
    branch, newest = git(clone, "branch", "--show-current"), head(clone)
    git(clone, "reset", "--quiet", "--hard", "HEAD~1")
    assert repository.read_commit(branch) == newest
    assert repository.model_copy(update={"remote": ""}).read_commit(branch) == head(clone) != newest


def test_an_annotated_tag_stands_on_its_commit(repository: GitRepository, clone: Path) -> None:
    git(clone, "tag", "--annotate", "--message", "x", "v1.1.0", "HEAD~1")
    assert repository.read_tag("v1.1.0") == git(clone, "rev-parse", "HEAD~1")


def test_what_changed_since(repository: GitRepository) -> None:
    subjects = [line.split(" ", 1)[1] for line in repository.read_changes("v1.0.0", "HEAD")]
    assert subjects == ["change 2", "change 1"]
    assert repository.read_changes("HEAD", "v1.0.0") == []
    assert repository.read_changes("unknown", "HEAD") == []


def test_a_tag_is_annotated_and_pushed(repository: GitRepository, clone: Path, remote: Path) -> None:
    repository.create_tag("v1.1.0", head(clone), "deployed by Ada\n\n--force $(id)")
    for folder in (clone, remote):
        assert git(folder, "cat-file", "-t", "v1.1.0") == "tag"
        assert git(folder, "rev-parse", "v1.1.0^{commit}") == head(clone)
    assert "--force $(id)" in git(remote, "for-each-ref", "--format=%(contents)", "refs/tags/v1.1.0")


def test_creating_and_deleting_again_changes_nothing(repository: GitRepository, clone: Path, remote: Path) -> None:
    for _ in range(2):
        repository.create_tag("v1.1.0", head(clone), "once")
    first = git(remote, "rev-parse", "v1.1.0")
    repository.create_tag("v1.1.0", head(clone), "twice")
    assert git(remote, "rev-parse", "v1.1.0") == first
    for _ in range(2):
        repository.delete_tag("v1.1.0")
    assert git(remote, "tag") == ""
    assert git(clone, "tag") == "v1.0.0"


def test_a_half_done_creation_is_finished(repository: GitRepository, clone: Path, remote: Path) -> None:
    """Killed between tag and push."""
    GitRepository(folder=str(clone)).create_tag("v1.1.0", head(clone), "local only")
    assert git(remote, "tag") == ""
    repository.create_tag("v1.1.0", head(clone), "again")
    assert git(remote, "tag") == "v1.1.0"


def test_without_a_remote_nothing_is_pushed(clone: Path, remote: Path) -> None:
    local = GitRepository(folder=str(clone))
    local.create_tag("v1.1.0", head(clone), "x")
    local.delete_tag("v1.1.0")
    assert git(remote, "tag") == ""


def test_a_remote_that_is_gone_refuses(repository: GitRepository, clone: Path, remote: Path) -> None:
    remote.rename(remote.with_name("moved"))
    with pytest.raises(RefusedByPlatform, match="git push failed"):
        repository.create_tag("v1.1.0", head(clone), "x")


def test_another_tag_at_the_remote_is_never_replaced(repository: GitRepository, clone: Path, remote: Path) -> None:
    git(clone, "push", "--quiet", "origin", "HEAD~1:refs/tags/v1.1.0")
    with pytest.raises(RefusedByPlatform, match="git push failed"):
        repository.create_tag("v1.1.0", head(clone), "x")
    assert git(remote, "rev-parse", "v1.1.0") == git(clone, "rev-parse", "HEAD~1")


def test_a_tag_on_another_commit_is_not_taken_for_the_new_one(repository: GitRepository, clone: Path) -> None:
    with pytest.raises(RefusedByPlatform, match=r"Tag v1\.0\.0 stands on"):
        repository.create_tag("v1.0.0", head(clone), "x")
    assert repository.read_tag("v1.0.0") == git(clone, "rev-parse", "HEAD~2")


@pytest.mark.parametrize("hostile", ["--output=stolen", "-d", "-f", "--upload-pack=touch stolen", "--exec=x", "-", ""])
def test_nothing_is_taken_for_an_option(repository: GitRepository, clone: Path, hostile: str) -> None:
    before = git(clone, "for-each-ref")
    assert repository.read_commit(hostile) is None
    assert repository.read_tag(hostile) is None
    assert repository.read_changes(hostile, "HEAD") in ([], repository.read_changes("HEAD", "HEAD"))
    for commit in (head(clone), "stolen"):
        with pytest.raises(RefusedByPlatform, match="git tag failed"):
            repository.create_tag(hostile, commit, "x")
    with pytest.raises(RefusedByPlatform, match="git tag failed"):
        repository.create_tag("v2", hostile or "nothing", "x")
    assert git(clone, "for-each-ref") == before
    assert not list(clone.parent.rglob("stolen*"))


@pytest.mark.parametrize("remote", ["--upload-pack=x", "-x", "--mirror", "ext::sh", "https://u:p@host/x", "a b", "o\n"])
def test_a_remote_is_a_name(remote: str) -> None:
    with pytest.raises(ValidationError):
        GitRepository(folder="x", remote=remote)


def test_no_repository_there(tmp_path: Path) -> None:
    assert GitRepository(folder=str(tmp_path)).read_tag("v1.0.0") is None
    with pytest.raises(RefusedByPlatform, match="not a git repository"):
        GitRepository(folder=str(tmp_path)).create_tag("v1.0.0", "HEAD", "x")


def test_git_that_hangs_is_ended_with_all_that_it_started(
    repository: GitRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = tmp_path / "pid"
    monkeypatch.setattr("blocks.sources.git_repository._GIT_SECONDS", 1)
    monkeypatch.setenv("GIT_SSH_COMMAND", f"echo $$ > {pid}; exec sleep 60;")
    slow = repository.model_copy(update={"remote": "slow"})
    git(Path(slow.folder), "remote", "add", "slow", "ssh://localhost/x")
    with pytest.raises(Unreachable, match="git does not answer"):
        slow.delete_tag("v9")
    eventually(lambda: not psutil.pid_exists(int(pid.read_text())))
