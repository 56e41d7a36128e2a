"""The repository of the sample service."""

import shutil
import subprocess
from pathlib import Path

import pytest

from deployments.shop.releases import RELEASES, NotOurs, build_repository


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()


def test_every_release_is_an_annotated_tag_that_names_itself(repository: Path) -> None:
    assert git(repository, "tag").splitlines() == [release.version for release in RELEASES]
    for release in RELEASES:
        assert git(repository, "cat-file", "-t", release.version) == "tag"
        source = git(repository, "show", f"{release.version}:shop/release.py")
        assert f'VERSION: str = "{release.version}"' in source
        assert f'FAULT: str | None = "{release.fault}"' in source or release.fault is None


def test_main_is_one_untagged_good_commit_ahead(repository: Path) -> None:
    assert git(repository, "branch", "--show-current") == "main"
    assert git(repository, "rev-list", "--count", f"{RELEASES[-1].version}..main") == "1"
    assert "FAULT: str | None = None" in git(repository, "show", "main:shop/release.py")
    assert git(repository, "status", "--porcelain") == ""


def test_a_complete_repository_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    build_repository(folder)
    (folder / "note").write_text("mine")
    git(folder, "tag", "v2.1.0")
    build_repository(folder)
    assert (folder / "note").read_text() == "mine"
    assert "v2.1.0" in git(folder, "tag").splitlines()


@pytest.mark.parametrize("missing", ["a tag", "the last commit", "objects"])
def test_a_half_made_repository_is_made_anew(repository: Path, tmp_path: Path, missing: str) -> None:
    folder = tmp_path / "shop"
    build_repository(folder)
    if missing == "a tag":
        git(folder, "tag", "--delete", "v1.4.0")
    elif missing == "the last commit":
        git(folder, "reset", "--hard", "v1.6.0")
    else:
        shutil.rmtree(folder / ".git" / "objects")

    build_repository(folder)

    assert git(folder, "rev-parse", "main", "v1.0.0", "v1.4.0") == git(
        repository, "rev-parse", "main", "v1.0.0", "v1.4.0"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]


def test_what_was_not_made_here_is_never_replaced(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "work").write_text("of somebody else")
    with pytest.raises(NotOurs, match="Nothing was changed"):
        build_repository(tmp_path)
    assert (tmp_path / "work").read_text() == "of somebody else"
    assert not (tmp_path / "shop").exists()


def test_the_users_git_settings_take_no_part(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "gitconfig"
    settings.write_text("[commit]\n gpgsign = true\n[init]\n defaultBranch = trunk\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Somebody")
    build_repository(tmp_path / "shop")
    assert git(tmp_path / "shop", "rev-parse", "main") == git(repository, "rev-parse", "main")
