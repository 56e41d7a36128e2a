"""Values that are named instead of held."""

from pathlib import Path

import pytest
from pydantic import BaseModel, ValidationError

from blocks.errors import MissingReference
from blocks.reference import Address, Secret, is_reference, resolve


class Holder(BaseModel):
    secret: Secret = "${X}"
    address: Address = "${X}"


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "value")
    monkeypatch.setenv("OTHER", "${NAME}")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("UNSET", raising=False)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${NAME}", "value"),
        ("https://${NAME}/x?y=${NAME}", "https://value/x?y=value"),
        ("no reference", "no reference"),
        ("", ""),
        ("$NAME {NAME} ${name} $${", "$NAME {NAME} ${name} $${"),
        ("${OTHER}", "${NAME}"),
    ],
)
def test_what_it_stands_for(text: str, value: str) -> None:
    assert resolve(text) == value


@pytest.mark.parametrize("text", ["${UNSET}", "${EMPTY}", "https://${UNSET}/"])
def test_a_variable_that_is_not_there_is_named(text: str) -> None:
    with pytest.raises(MissingReference, match="not set in the worker's environment") as failure:
        resolve(text)
    assert "value" not in failure.value.message


def test_a_file_holds_the_value(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(" from a file\n")
    assert resolve(f"file:{tmp_path}/secret") == "from a file"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.write_bytes(b"\xff\xfehunter2"), "not text"),
        (lambda path: path.write_text("\n"), "empty"),
    ],
    ids=["missing", "folder", "binary", "empty"],
)
def test_a_file_that_says_nothing_is_named(tmp_path: Path, make: object, reason: str) -> None:
    assert callable(make)
    make(tmp_path / "secret")
    with pytest.raises(MissingReference, match=reason) as failure:
        resolve(f"file:{tmp_path}/secret")
    assert "hunter2" not in repr(failure.value)
    assert failure.value.__cause__ is None


@pytest.mark.parametrize("text", ["${NAME}", "${A_1}", "file:/run/secrets/x"])
def test_references(text: str) -> None:
    assert is_reference(text)
    assert Holder(secret=text, address=text).secret == text


@pytest.mark.parametrize(
    "text", ["", "hunter2", "x${NAME}", "${NAME}x", "${NAME}\n", "${1A}", "${}", "file:x", "$NAME"]
)
def test_a_secret_itself_is_refused_and_not_repeated(text: str) -> None:
    assert not is_reference(text)
    with pytest.raises(ValidationError, match="must be a reference"):
        Holder(secret=text)


@pytest.mark.parametrize(
    "address",
    [
        "https://user:hunter2@host/x",
        "https://:hunter2@host",
        "https://hunter2@host",
        "https://user:hun/ter2@host",
        "postgresql://user:${PASSWORD}@host/x",
        "https://host/?password=hunter2",
        "https://host/?a=b&api_key=hunter2",
        "https://host/?access_token=hunter2",
    ],
)
def test_an_address_with_a_password_is_refused(address: str) -> None:
    with pytest.raises(ValidationError, match="holds a password"):
        Holder(address=address)


@pytest.mark.parametrize(
    "address",
    ["https://host:8443/x", "http://[::1]:80/", "https://${HOST}/x", "${URL}", "https://host/a?page=1&tokens=no"],
)
def test_addresses(address: str) -> None:
    assert Holder(address=address).address == address
