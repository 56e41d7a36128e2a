"""Keys for tests, as the embedded stack makes them."""

from cryptography.fernet import Fernet

VARIABLE = "BACKSTOP_APPROVALS_KEY"


def new_key() -> str:
    return Fernet.generate_key().decode()
