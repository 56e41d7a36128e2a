"""What is encrypted and sealed with the approvals' key, and what opens nothing."""

import re

import pytest

from blocks.errors import MissingReference, Refused
from blocks.ledger.approvals_key import check_key, decrypt, encrypt, is_sealed, seal
from tests.blocks.ledger.approvals_key import VARIABLE, new_key

TEXT = "not-for-messages"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    key = new_key()
    monkeypatch.setenv(VARIABLE, key)
    return key


def test_what_was_encrypted_opens_for_its_own_name_alone() -> None:
    encrypted = encrypt(TEXT, "ada")
    assert decrypt(encrypted, "ada") == TEXT
    with pytest.raises(Refused, match="for bob cannot be opened"):
        decrypt(encrypted, "bob")


@pytest.mark.parametrize("damage", ["", "x", "ünïcödé", "gAAAAA==", "cut off", "flipped"])
def test_what_is_damaged_does_not_open(damage: str) -> None:
    encrypted = encrypt(TEXT, "ada")
    flipped = encrypted[:60] + ("A" if encrypted[60] != "A" else "B") + encrypted[61:]
    with pytest.raises(Refused, match="cannot be opened: it is damaged") as refused:
        decrypt({"cut off": encrypted[:-4], "flipped": flipped}.get(damage, damage), "ada")
    assert TEXT not in str(refused.value)


def test_another_key_opens_nothing_and_seals_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    encrypted, sealed = encrypt(TEXT, "ada"), seal("1", "ada")
    monkeypatch.setenv(VARIABLE, new_key())
    with pytest.raises(Refused, match="or BACKSTOP_APPROVALS_KEY is not the key that it was made with") as refused:
        decrypt(encrypted, "ada")
    assert "docs/approvals.md" in refused.value.hint
    assert not is_sealed(sealed, "1", "ada")


def test_a_seal_is_for_its_parts_alone() -> None:
    sealed = seal("1", "ada", "approve")
    assert re.fullmatch("[0-9a-f]{64}", sealed)
    assert is_sealed(sealed, "1", "ada", "approve")
    for parts in (
        ("1", "ada", "reject"),
        ("ada", "1", "approve"),
        ("1", "ada"),
        ("1", "ada", "approve", ""),
        ("1a", "da", "approve"),
        ("1", 'ada", "approve'),
        (),
    ):
        assert not is_sealed(sealed, *parts), parts


@pytest.mark.parametrize("claimed", ["", "0" * 64, "ünïcödé"])
def test_what_nobody_sealed(claimed: str) -> None:
    assert not is_sealed(claimed, "1")


def test_parts_of_any_text_can_be_sealed() -> None:
    parts = ("ünïcödé", "a\x00b", "half a pair \ud800", "")
    assert is_sealed(seal(*parts), *parts)


def test_a_missing_key_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    for use in (check_key, lambda: encrypt(TEXT, "ada"), lambda: seal("1")):
        with pytest.raises(MissingReference, match="BACKSTOP_APPROVALS_KEY"):
            use()


@pytest.mark.parametrize("malformed", ["nonsense", "ünïcödé", "A" * 32, "A" * 400])
def test_a_malformed_key_is_told_but_not_shown(monkeypatch: pytest.MonkeyPatch, malformed: str) -> None:
    monkeypatch.setenv(VARIABLE, malformed)
    for use in (check_key, lambda: encrypt(TEXT, "ada"), lambda: seal("1")):
        with pytest.raises(Refused, match="BACKSTOP_APPROVALS_KEY is no key") as refused:
            use()
        assert malformed not in str(refused.value)
