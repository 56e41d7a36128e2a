"""A file of NAME=value lines: complete at every moment, its owner's alone, understood by those who read it."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from blocks.errors import RefusedBySink
from blocks.platforms.sandbox import SandboxPlatform
from blocks.sinks.env_file import EnvFile
from tests.blocks.sinks.contract import HOSTILE, SinkContract, Subject

NOBODYS = SandboxPlatform(url="http://127.0.0.1:1", token="${NOT_THERE}")
OWN_WORDS = """\
# The nightly job's.
export FIRST='as it is' \nSECOND="quoted \\"here\\""
THIRD=bare # with a comment
FIFTH=  leading blank

"""


def at(path: Path) -> Subject:
    return Subject(EnvFile(type="env-file", path=str(path)), NOBODYS)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "app.env"
    path.touch(mode=0o644)
    return path


class TestContract(SinkContract):
    @pytest.fixture
    def subject(self, file: Path) -> Subject:
        return at(file)


@pytest.mark.parametrize("value", HOSTILE)
def test_a_shell_reads_what_was_written(file: Path, value: str) -> None:
    at(file).write(NAME=value)
    command = ["sh", "-c", '. "$1"; printf %s "$NAME"', "sh", str(file)]
    read = subprocess.run(command, check=True, capture_output=True, timeout=10, env={"HOME": "/nowhere"}).stdout
    assert read.decode() == value


def test_only_the_lines_that_are_meant_change(file: Path) -> None:
    file.write_text(OWN_WORDS)
    subject = at(file)
    assert subject.read("FIRST", "SECOND") == {"FIRST": "as it is", "SECOND": 'quoted "here"'}
    subject.write(SECOND="new", SIXTH="added")
    changed = OWN_WORDS.replace('SECOND="quoted \\"here\\""', "SECOND=new")
    assert file.read_text() == f"{changed}SIXTH=added\n"


def test_a_name_that_stands_there_twice_is_the_last_one_and_both_change(file: Path) -> None:
    file.write_text("NAME=first\nNAME=second")
    subject = at(file)
    assert subject.read("NAME") == {"NAME": "second"}
    subject.write(NAME="new")
    assert file.read_text() == "NAME=new\nNAME=new"


def test_nobody_else_may_read_it_and_whose_it_was_it_is(file: Path) -> None:
    if os.geteuid() == 0:
        os.chown(file, 65534, 65534)
    before = file.stat()
    at(file).write(NAME="value")
    after = file.stat()
    assert stat.filemode(after.st_mode) == "-rw-------"
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino, "it was not replaced at one moment"
    assert os.listdir(file.parent) == [file.name]


def test_a_link_stays_one(file: Path) -> None:
    link = file.with_name("link.env")
    link.symlink_to(file)
    at(link).write(NAME="value")
    assert link.is_symlink()
    assert file.read_text() == "NAME=value\n"


def test_one_that_is_not_there_or_no_text_is_refused(file: Path) -> None:
    with pytest.raises(RefusedBySink, match="No such file"):
        at(file.with_name("none.env")).write(NAME="value")
    file.write_bytes(b"NAME=\xff")
    with pytest.raises(RefusedBySink, match="not UTF-8"):
        at(file).read("NAME")
    assert os.listdir(file.parent) == [file.name]


def test_a_write_that_fails_leaves_it_as_it_was(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("NAME=old\n")

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(RefusedBySink, match="No space left"):
        at(file).write(NAME="hunter2")
    assert file.read_text() == "NAME=old\n"
    assert os.listdir(file.parent) == [file.name]
