from pathlib import Path

import pytest

from blocks.errors import Refused
from blocks.postgres.programs import find_programs, find_programs_for


def test_each_major_version_is_found_once_oldest_first() -> None:
    majors = [programs.major for programs in find_programs()]
    assert {16, 18} <= set(majors)
    assert majors == sorted(set(majors))


def test_the_oldest_that_can_is_taken() -> None:
    assert find_programs_for(16).major == 16
    assert find_programs_for(17).major == 18
    assert find_programs_for(18, at_most=18).version.startswith("18.")


def test_without_one_that_can_the_versions_at_hand_are_named() -> None:
    with pytest.raises(Refused, match=r"PostgreSQL 99 or newer is needed here; this machine has .*18\."):
        find_programs_for(99)
    with pytest.raises(Refused, match="PostgreSQL 17 to 17"):
        find_programs_for(17, at_most=17)


def test_the_folder_that_is_named_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pg_dump", "pg_restore"):
        (tmp_path / name).symlink_to(find_programs_for(18, 18).path(name))
    monkeypatch.setenv("BACKSTOP_POSTGRES_BIN", str(tmp_path))
    assert find_programs_for(18, 18).folder == tmp_path


def test_a_folder_without_programs_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKSTOP_POSTGRES_BIN", str(tmp_path))
    assert find_programs_for(16, 16).folder != tmp_path
