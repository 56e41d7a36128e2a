"""Looks for secrets in whatever was written down, also in the dresses that encodings give them."""

import base64
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote


def disguises(secret: str) -> Iterator[tuple[str, bytes]]:
    """Encoding → how the secret looks in it. Base64 three times: the neighbours on the left shift it."""
    plain = secret.encode()
    yield "plain", plain
    yield "hex", plain.hex().encode()
    yield "HEX", plain.hex().upper().encode()
    if quote(secret, safe="") != secret:
        yield "URL-encoded", quote(secret, safe="").encode()
    for shift in range(3):
        padded = b"\0" * shift + plain
        own = slice((shift * 8 + 5) // 6, len(padded) * 8 // 6)  # the characters that hold bits of the secret alone
        yield f"base64, shifted by {shift}", base64.b64encode(padded)[own]
        yield f"base64url, shifted by {shift}", base64.urlsafe_b64encode(padded)[own]


def find_secrets(secrets: Mapping[str, str], place: str, content: bytes) -> list[str]:
    """A line for each secret that stands in the content; never the secret itself."""
    return [
        f"{place}: {name} ({encoding})"
        for name, secret in secrets.items()
        for encoding, dress in disguises(secret)
        if dress in content
    ]


def find_in_files(secrets: Mapping[str, str], folder: Path) -> list[str]:
    """The same of all files below the folder, and of their names."""
    lines = []
    for path in sorted(folder.rglob("*")):
        place = str(path.relative_to(folder))
        lines += find_secrets(secrets, place, place.encode())
        with suppress(FileNotFoundError):  # servers work in there
            if path.is_file() and not path.is_symlink():
                lines += find_secrets(secrets, place, path.read_bytes())
    return lines
