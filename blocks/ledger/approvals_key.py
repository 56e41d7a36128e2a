"""What only the approvals' key opens and makes: it is a variable of the worker and stands in no database."""

import base64
import hmac
import json

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from blocks.errors import Refused
from blocks.reference import resolve

KEY = "${BACKSTOP_APPROVALS_KEY}"
_NAME = KEY.strip("${}")
_SEALING = b"backstop: seal of an approval"


def check_key() -> None:
    """Raises MissingReference without a key, Refused for what is none."""
    _key()


def encrypt(text: str, context: str) -> str:
    """Opens only for the same context, such as the name of its row. Raises as `check_key` does."""
    return Fernet(_key()).encrypt(json.dumps([context, text]).encode()).decode()


def decrypt(encrypted: str, context: str) -> str:
    """Raises Refused when it is damaged, of another context or key; and as `check_key` does."""
    try:
        encrypted_for, text = json.loads(Fernet(_key()).decrypt(encrypted.encode()))
    except InvalidToken:
        encrypted_for, text = None, ""
    if encrypted_for != context:
        raise Refused(
            f"What the ledger holds for {context} cannot be opened: it is damaged or was made for somebody else, or"
            f" {_NAME} is not the key that it was made with.",
            "Give the worker its key back; docs/approvals.md tells what to do when it is lost. Nothing was changed.",
        )
    return str(text)


def seal(*parts: str) -> str:
    """HMAC-SHA256, in hex, that nobody without the key can make for these parts in this order."""
    return hmac.digest(_sealing_key(), json.dumps(parts).encode(), "sha256").hex()


def is_sealed(claimed: str, *parts: str) -> bool:
    """Whether `claimed` is the seal of these parts."""
    return hmac.compare_digest(claimed.encode(), seal(*parts).encode())


def _sealing_key() -> bytes:
    """Another key than the encrypting one: what one of them does tells nothing about the other."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=_SEALING).derive(base64.urlsafe_b64decode(_key()))


def _key() -> str:
    key = resolve(KEY)
    try:
        Fernet(key)
    except ValueError:
        raise Refused(
            f"{_NAME} is no key: it must be 32 random bytes in base64url.",
            "Give the worker the key that the approvers were enrolled with. Nothing was changed.",
        ) from None
    return key
