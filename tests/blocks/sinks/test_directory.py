"""A directory as an orchestrator mounts it."""

import os
import stat
from pathlib import Path

import pytest

from blocks.errors import RefusedBySink
from blocks.reference import resolve
from blocks.sinks.directory import Directory
from tests.blocks.sinks.contract import SinkContract, Subject
from tests.blocks.sinks.test_env_file import NOBODYS


def at(path: Path) -> Subject:
    return Subject(Directory(type="directory", path=str(path)), NOBODYS)


class TestContract(SinkContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> Subject:
        return at(tmp_path)


def test_a_file_holds_the_value_and_is_its_owners_alone(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        os.chown(tmp_path, 65534, 65534)
    at(tmp_path).write(NAME="new value")
    made = (tmp_path / "NAME").stat()
    assert (tmp_path / "NAME").read_bytes() == b"new value"
    assert stat.filemode(made.st_mode) == "-rw-------"
    assert (made.st_uid, made.st_gid) == (tmp_path.stat().st_uid, tmp_path.stat().st_gid)
    assert os.listdir(tmp_path) == ["NAME"]


def test_what_refers_to_a_file_of_it_finds_the_new_value(tmp_path: Path) -> None:
    """So the worker itself may be one of those that use the secret."""
    at(tmp_path).write(NAME="old")
    at(tmp_path).write(NAME="new")
    assert resolve(f"file:{tmp_path}/NAME") == "new"


def test_one_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for act in (lambda sink: sink.read("NAME"), lambda sink: sink.write(NAME="hunter2")):
        with pytest.raises(RefusedBySink) as raised:
            act(at(tmp_path / "none"))
        assert "hunter2" not in repr(raised.value)
