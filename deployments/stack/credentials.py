"""Every secret of the stack, generated once and kept in one private file."""

import base64
import os
from collections.abc import Callable
from secrets import token_urlsafe
from typing import Any

import pyrage
from pydantic import BaseModel, Field, ValidationError

from blocks.errors import Refused
from deployments.stack.state import State, write_private


def _generated(generate: Callable[[], str] = lambda: token_urlsafe(24)) -> Any:
    return Field(default_factory=generate, repr=False)


def _generate_fernet_key() -> str:
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


def _generate_identity() -> str:
    return str(pyrage.x25519.Identity.generate())


class ShopCredentials(BaseModel):
    """Of one environment of the sample service."""

    database_password: str = _generated()
    login_password: str = _generated()
    """Of the role that the service logs in as at first."""
    sandbox_token: str = _generated()
    session_secret: str = _generated()
    data_key: str = _generated()
    webhook_secret: str = _generated()
    demo_password: str = _generated()


class Credentials(BaseModel):
    postgres_password: str = _generated()
    """Of the superuser, `postgres`."""
    prefect_database_password: str = _generated()
    ledger_password: str = _generated()
    backup_database_password: str = _generated()
    restore_database_password: str = _generated()
    rotate_database_password: str = _generated()
    redis_password: str = _generated()
    prefect_password: str = _generated()
    prefect_encryption_key: str = _generated(_generate_fernet_key)
    """Encrypts the blocks. Without it Prefect would keep a key beside them, in its own database."""
    backup_identity: str = _generated(_generate_identity)
    """The age key that opens the backups."""
    approvals_key: str = _generated(_generate_fernet_key)
    """Encrypts the seeds of the approvers' one-time codes."""
    staging: ShopCredentials = Field(default_factory=ShopCredentials)
    production: ShopCredentials = Field(default_factory=ShopCredentials)

    @property
    def prefect_login(self) -> str:
        """What Prefect's interface asks for: user and password in one text."""
        return f"backstop:{self.prefect_password}"

    @property
    def backup_recipient(self) -> str:
        """The public key that backups are encrypted for."""
        return str(pyrage.x25519.Identity.from_str(self.backup_identity).to_public())

    def of_shop(self, environment: str) -> ShopCredentials:
        return {"staging": self.staging, "production": self.production}[environment]


def read_credentials(state: State) -> Credentials:
    """Raises Refused when there are none, or the file does not hold them."""
    path = state.folder / "secrets.json"
    try:
        return Credentials.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise Refused("The stack has never been started here.", "Run `backstop up` first.") from None
    except ValidationError:  # its text would quote the secrets
        raise Refused(
            f"{path} does not hold the stack's secrets any more.",
            "Put the file back, or start afresh with `backstop down --purge`.",
        ) from None


def prepare_credentials(state: State) -> Credentials:
    """Those of the file; what it lacks is generated and added to it."""
    path = state.folder / "secrets.json"
    credentials = read_credentials(state) if path.exists() else Credentials()
    text = credentials.model_dump_json(indent=1)
    if not path.exists() or path.read_text() != text:
        write_private(path, text)
    return credentials
