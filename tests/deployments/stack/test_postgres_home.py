"""As root, PostgreSQL runs as another user, who must be able to reach its programs and data."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from blocks.errors import Refused
from deployments.stack.postgres_home import PostgresHome, find_programs
from deployments.stack.state import State

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to run PostgreSQL as another user")


def home_of(folder: Path) -> PostgresHome:
    state = State(folder)
    state.create()
    return PostgresHome(state)


@needs_root
def test_data_of_a_state_that_was_deleted_by_hand_is_left_alone_and_named(tmp_path: Path) -> None:
    said: list[str] = []
    home = home_of(tmp_path / "state")
    home.prepare(said.append)
    said.clear()
    earlier = home.folder
    (earlier / "data").mkdir()
    shutil.rmtree(tmp_path / "state")
    later = home_of(tmp_path / "state")
    try:
        later.prepare(said.append)
        assert not later.data.exists()
        assert [line for line in said if str(earlier) in line and "nothing needs it" in line]
    finally:
        later.purge()
        shutil.rmtree(earlier)


@needs_root
def test_programs_that_the_user_cannot_reach_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = tmp_path / "hidden"
    shutil.copytree(find_programs().parent, hidden)
    tmp_path.chmod(0o700)
    monkeypatch.setenv("BACKSTOP_POSTGRES_BIN", str(hidden / "bin"))
    said: list[str] = []
    home = home_of(tmp_path / "state")
    try:
        home.prepare(said.append)
        shown = subprocess.run(
            [str(home.programs / "postgres"), "--version"],
            check=True,
            user=home.user,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            timeout=30,
        )
        assert shown.stdout.startswith(b"postgres (PostgreSQL)")
        assert len(said) == 1
        assert str(home.outside) in said[0]
        home.prepare(said.append)
        assert len(said) == 1  # the copy is there already
    finally:
        home.purge()
    assert not home.outside.exists()


@needs_root
def test_programs_that_the_user_can_reach_stay_where_they_are(tmp_path: Path) -> None:
    home = home_of(tmp_path / "state")
    if not home._may_run(find_programs()):
        pytest.skip("this checkout cannot be entered by others")
    assert home.programs == find_programs()


def test_folder_without_postgres_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKSTOP_POSTGRES_BIN", str(tmp_path))
    with pytest.raises(Refused, match="There is no program 'postgres'"):
        find_programs()
