"""Uploads at rest: the first key encrypts, and all of them decrypt."""

import base64
import hashlib
from collections.abc import Sequence

from cryptography.fernet import Fernet

from shop.settings import fingerprint

MARK = b"\0key:"
"""Begins what is encrypted; the fingerprint of its key follows, 16 characters."""
_BEGIN = len(MARK) + 16


class Encryption:
    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {fingerprint(key).encode(): _fernet(key) for key in keys}
        self._first = next(iter(self._keys), None)

    def encrypt(self, plain: bytes) -> bytes:
        """Without a key it stays as it is."""
        return plain if self._first is None else MARK + self._first + self._keys[self._first].encrypt(plain)

    def decrypt(self, stored: bytes) -> bytes:
        """Raises KeyError for a key that is not known."""
        if not stored.startswith(MARK):
            return stored
        return self._keys[stored[len(MARK) : _BEGIN]].decrypt(stored[_BEGIN:])

    def is_current(self, stored: bytes) -> bool:
        return self._first is None or stored.startswith(MARK + self._first)


def _fernet(key: bytes) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(key).digest()))
