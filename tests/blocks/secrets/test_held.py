"""Secrets that only their consumers check: what is made, and what a service reports of it."""

import base64
import hashlib
from pathlib import Path

import pytest
from pydantic import ValidationError

from blocks.secrets.encryption_key import EncryptionKey
from blocks.secrets.generated import Generated
from blocks.secrets.held import told
from blocks.secrets.provided import Provided
from blocks.secrets.signing_key import SigningKey
from tests.blocks.sinks.contract import HOSTILE

HELD = {"variable": "X", "sinks": [{"type": "platform"}]}
MEANS = {**HELD, "means": "logs every user out"}
REPORT = {"path": "/secrets", "member": "all.x"}


def signing_key(**fields: object) -> SigningKey:
    given = {"type": "signing-key", **HELD, "report": REPORT, "token_hours": 12, **fields}
    return SigningKey.model_validate(given)


def provided(value: str) -> Provided:
    return Provided.model_validate({"type": "provided", **MEANS, "value": value})


@pytest.mark.parametrize("count", [16, 32, 1024])
def test_as_many_random_bytes_are_made_as_asked(count: int) -> None:
    asked = {"type": "generated", **MEANS, "random_bytes": count}
    made = {Generated.model_validate(asked).make({"X": "old"})["X"] for _ in range(3)}
    assert {len(base64.b64decode(one, validate=True)) for one in made} == {count}
    hex = Generated.model_validate({**asked, "encoding": "hex"})
    made |= {hex.make({"X": "old"})["X"] for _ in range(3)}
    assert len(bytes.fromhex(hex.make({})["X"])) == count
    assert len(made) == 6


def test_32_bytes_in_base64_are_made_unless_something_else_is_asked_for() -> None:
    made = Generated.model_validate({"type": "generated", **MEANS}).make({})["X"]
    assert (len(made), len(base64.b64decode(made, validate=True))) == (44, 32)


@pytest.mark.parametrize("wrong", [{"random_bytes": 15}, {"random_bytes": 1025}, {"encoding": "rot13"}, {"means": ""}])
def test_what_is_too_short_or_says_not_what_it_means_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Generated.model_validate({"type": "generated", **MEANS, **wrong})


def test_a_new_key_comes_first_and_those_of_before_stay_until_they_are_retired() -> None:
    key = signing_key()
    first = key.make({"X": "old"})
    second = key.make(first)
    assert second["X"].split(",")[1:] == first["X"].split(",")
    assert first["X"].split(",")[1:] == ["old"]
    assert len(set(second["X"].split(","))) == 3
    assert key.without_previous(second) == {"X": second["X"].split(",")[0]}
    assert key.without_previous({"X": "old"}) == {"X": "old"}
    assert key.read_obstacles(second) == []
    assert key.read_obstacles({"X": "a,,b"}) == ["X holds an empty key: take it out by hand"]


def test_with_another_variable_a_new_key_is_accepted_before_it_is_used() -> None:
    key = signing_key(next_variable="NEXT")
    assert key.variables == ["X", "NEXT"]
    first = {"X": "old", "NEXT": ""}
    known = key.make(first)
    assert known == {"X": "old", "NEXT": known["NEXT"]}
    used = key.make(known)
    assert used == {"X": f"{known['NEXT']},old", "NEXT": ""}
    for values, accepted in ((first, ["old"]), (known, ["old", known["NEXT"]]), (used, [known["NEXT"], "old"])):
        assert key.accepted(values) == accepted
    assert key.without_previous(known) == known
    assert key.without_previous(used) == {"X": known["NEXT"], "NEXT": ""}


def test_after_a_breach_nothing_of_before_is_accepted() -> None:
    alone = signing_key().make_alone({"X": "leaked,old"})
    assert "," not in alone["X"]
    assert alone["X"] not in ("leaked", "old")
    alone = signing_key(next_variable="NEXT").make_alone({"X": "leaked,old", "NEXT": "leaked, too"})
    assert "leaked" not in f"{alone}"
    assert alone["NEXT"] == ""
    fields = {"type": "encryption-key", **HELD, "report": REPORT, "protects": {"path": "/encryption", "member": "all"}}
    data = EncryptionKey.model_validate({**fields, "next_variable": "NEXT"})
    assert "data is encrypted with X" in data.read_cut_obstacles({"X": "leaked", "NEXT": ""})[0]


def test_what_the_keys_of_before_protect_is_asked_for() -> None:
    fields = {"type": "encryption-key", **HELD, "report": REPORT, "protects": {"path": "/encryption", "member": "all"}}
    key = EncryptionKey.model_validate({**fields, "next_variable": "NEXT"})
    assert key.protecting({"X": "new,old,older", "NEXT": ""}) == ("/encryption", "all", [told("old"), told("older")])
    with pytest.raises(ValidationError, match="next_variable"):
        EncryptionKey.model_validate(fields)


def test_the_service_is_expected_to_report_all_that_it_accepts() -> None:
    expected = signing_key().report_of({"X": "new,old"})
    assert expected == ("/secrets", "all.x", [hashlib.sha256(one).hexdigest()[:16] for one in (b"new", b"old")])
    one = Generated.model_validate({"type": "generated", **MEANS, "report": REPORT}).report_of({"X": "a,b"})
    assert one == ("/secrets", "all.x", [hashlib.sha256(b"a,b").hexdigest()[:16]])
    assert Generated.model_validate({"type": "generated", **MEANS}).report_of({"X": "a"}) is None


@pytest.mark.parametrize("value", [*filter(None, HOSTILE), "-----BEGIN KEY-----\r\nMIIE\r\n-----END KEY-----"])
def test_a_provided_value_arrives_whole(tmp_path: Path, value: str) -> None:
    file = tmp_path / "new"
    file.write_bytes(f"{value}\n".encode())
    assert provided(f"file:{file}").make({"X": "old"}) == {"X": value.strip()}


def test_a_provided_value_may_be_a_variable_of_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEW_ONE", "costs ${HOME}")
    assert provided("${NEW_ONE}").make({}) == {"X": "costs ${HOME}"}
    with pytest.raises(ValidationError):
        provided("the secret itself")


def test_a_provided_value_that_is_not_there_yet_is_in_the_way(tmp_path: Path) -> None:
    file = tmp_path / "new"
    secret = provided(f"file:{file}")
    assert "which is No such file or directory" in secret.read_obstacles({"X": "old"})[0]
    file.write_text("old")
    assert secret.read_obstacles({"X": "old"}) == [f"file:{file} holds the present one: put the new one there first"]
    file.write_text("a\0b")
    assert secret.read_obstacles({"X": "old"}) == ["it holds a NUL character"]
    file.write_text("new")
    assert secret.read_obstacles({"X": "old"}) == []


@pytest.mark.parametrize("member", ["", "a..b", "a b", "a/b"])
def test_a_report_names_a_member(member: str) -> None:
    with pytest.raises(ValidationError):
        signing_key(report={"path": "/x", "member": member})
