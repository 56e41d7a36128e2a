"""A version becomes a tag, a path and a part of a URL: nothing else gets through."""

import subprocess
from pathlib import Path

import pytest

from blocks.errors import BadParameter
from tasks.version import check_version

GOOD = ["v1.2.0", "1", "v.locked", "2026-11-21", "v1.2.0-rc.1", "1.0.0+build_7", "V1_x", "a" * 64, "v1.2.0-broken"]
BAD = [
    *("", " ", "v1 ", " v1", "v1\n", "\nv1", "v1\r", "v1\tx", "v1\x00", "v1\u2028"),
    *("v1; rm -rf /", "$(id)", "`id`", "v1|id", "v1&id", "v1>x", "'v1'", '"v1"', "v1\\x", "*", "v1?", "[v1]", "{v1}"),
    *("../x", "x/../y", "a/b", "/etc/passwd", "C:\\x", "v1%2f..", ".", "..", ".v1", "v1.", "v1..2", "v1.lock/x"),
    *("-", "--upload-pack=x", "-c", "+v1", "_v1", "refs/tags/v1", "v1@{1}", "v1^", "v1~1", "v1:x", "@", "HEAD^{}"),
    "v1.lock",
    *("v١", "v１", "ｖ1", "vé", "v1🚒", "v1\u200b", "ᵛ1"),
    *("a" * 65, "v" + "1" * 10_000, "a." * 5_000, "v1-" * 4_000 + "!"),
]


@pytest.mark.parametrize("version", GOOD)
def test_names_that_people_use(version: str) -> None:
    assert check_version(version) == version


@pytest.mark.parametrize("version", BAD, ids=lambda version: ascii(version[:20]))
def test_what_is_no_version(version: str) -> None:
    with pytest.raises(BadParameter) as refusal:
        check_version(version, "to")
    message = str(refusal.value)
    assert message.startswith("Parameter 'to' was ")
    assert "allowed: 1 to 64 letters" in message
    assert "Nothing was changed." in message
    assert len(message) < 300
    assert message.isprintable()


def test_git_takes_every_good_one_for_a_tag(tmp_path: Path) -> None:
    for version in GOOD:
        subprocess.run(["git", "check-ref-format", f"refs/tags/{version}"], cwd=tmp_path, timeout=10, check=True)
