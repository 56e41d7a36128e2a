"""The search that test_secrets.py rests on finds what was planted."""

import base64
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.secret_search import find_in_files, find_secrets

SECRET = "pass/wörd+with=signs?~0123"
SECRETS = {"the password": SECRET}


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "user:"])
@pytest.mark.parametrize("after", ["", "x", "xy", "xyz", "@host/db"])
@pytest.mark.parametrize(
    "encode",
    [
        str.encode,
        lambda text: text.encode().hex().encode(),
        lambda text: text.encode().hex().upper().encode(),
        lambda text: quote(text, safe="").encode(),
        lambda text: base64.b64encode(text.encode()),
        lambda text: base64.urlsafe_b64encode(text.encode()),
    ],
    ids=["plain", "hex", "HEX", "URL", "base64", "base64url"],
)
def test_a_secret_among_other_text_is_found_in_every_encoding(encode: object, before: str, after: str) -> None:
    assert callable(encode)
    content = b"\x00{" + encode(before + SECRET + after) + b"}\n"
    found = find_secrets(SECRETS, "a log", content)
    assert found
    assert all(line.startswith("a log: the password (") for line in found)
    assert SECRET not in "".join(found)


def test_what_is_like_a_secret_is_none() -> None:
    assert find_secrets(SECRETS, "a log", SECRET[:-1].encode() + b"4") == []


def test_a_secret_is_found_in_a_file_and_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "down"
    folder.mkdir(parents=True)
    (folder / "harmless").write_bytes(b"nothing")
    (folder / "dump").write_bytes(b"\xff\x00" + base64.b64encode(b"x" + SECRET.encode()))
    (folder / SECRET.encode().hex()).touch()
    assert find_in_files(SECRETS, tmp_path) == [
        f"deep/down/{SECRET.encode().hex()}: the password (hex)",
        "deep/down/dump: the password (base64, shifted by 1)",
    ]
