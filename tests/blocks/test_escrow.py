"""An escrow opens with each of the keys that it was sealed for, and with no other."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from shutil import which

import pyrage
import pytest

from blocks.errors import Refused
from blocks.escrow import Escrow, EscrowIsBad, lacking, open_escrow, seal_escrow

ESCROW = Escrow(
    environment="shop",
    made_at=datetime(2026, 11, 1, tzinfo=UTC),
    file="environment: shop",
    repository="https://user:hidden-too@host/shop.git",
    references={"${KEY}": "hidden"},
    application={"STRIPE": "hidden as well"},
)


def key() -> tuple[str, str]:
    """Private and public."""
    identity = pyrage.x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def test_any_one_of_the_keys_opens_it() -> None:
    (one, for_one), (other, for_other) = key(), key()
    sealed = seal_escrow(ESCROW, [for_one, for_other])
    assert b"hidden" not in sealed
    assert open_escrow(sealed, one) == open_escrow(sealed, f"# the other\n{other}\n") == ESCROW
    assert "hidden" not in repr(ESCROW)


@pytest.mark.skipif(which("age") is None, reason="needs age")
def test_age_opens_it_without_us(tmp_path: Path) -> None:
    private, public = key()
    (tmp_path / "key").write_text(private)
    command = ["age", "--decrypt", "--identity", str(tmp_path / "key")]
    opened = subprocess.run(command, input=seal_escrow(ESCROW, [public]), capture_output=True, check=True, timeout=30)
    assert Escrow.model_validate_json(opened.stdout) == ESCROW


def test_another_key_a_changed_byte_and_foreign_content_are_told_apart_from_a_good_one() -> None:
    private, public = key()
    sealed = seal_escrow(ESCROW, [public])
    with pytest.raises(EscrowIsBad, match="made for another key"):
        open_escrow(sealed, key()[0])
    with pytest.raises(EscrowIsBad, match="cannot be opened"):
        open_escrow(sealed[: len(sealed) // 2], private)
    foreign = pyrage.encrypt(b'{"hidden": 1}', [pyrage.x25519.Recipient.from_str(public)])
    with pytest.raises(EscrowIsBad, match="what is in it is none") as error:
        open_escrow(foreign, private)
    assert "hidden" not in str(error.value)
    with pytest.raises(Refused, match="no key of age or ssh"):
        open_escrow(sealed, "hunter2")


def test_what_it_lacks_is_named() -> None:
    assert lacking(ESCROW, ["${OTHER}", "${KEY}", "file:/x"]) == ["${OTHER}", "file:/x"]
