"""Access to Google's APIs as a service account. https://developers.google.com/identity/protocols/oauth2/service-account

What an environment refers to is the account's key, as Google hands it out (JSON). A request that the key signs is
answered with a token that is good for an hour; the process keeps it until shortly before its end, and nobody else does.
Google's own library signs and parses. Of its errors only the names are told: some quote what was sent.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any

import httpx

from blocks.bounded_call import TooLong, bounded_call
from blocks.errors import BackstopError, RefusedByPlatform, Unreachable
from blocks.reference import resolve

if TYPE_CHECKING:
    from google.oauth2.service_account import Credentials

_SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
"""What the account may really do is said by its roles."""
_MOST_BYTES = 1_000_000

_known: dict[str, "Credentials"] = {}
"""By their key, with the token that they have."""
_lock = Lock()


@dataclass(frozen=True)
class GoogleAccess:
    """The bearer token of a service account: the `token` of a VendorApi."""

    credentials: str
    """Reference to the account's key."""
    seconds: float
    """For getting a token."""
    refusal: type[BackstopError] = RefusedByPlatform
    """Raised where the key is none, or Google refuses it."""

    def read(self) -> str:
        """Raises MissingReference, Unreachable or `refusal`."""
        from google.auth.credentials import TokenState
        from google.auth.exceptions import GoogleAuthError, TransportError

        key = resolve(self.credentials)
        with _lock:
            if key not in _known:
                _known[key] = self._parse(key)
            access = _known[key]
            if access.token_state != TokenState.FRESH:
                try:
                    access.refresh(_Transport(self.seconds))
                except TransportError:
                    raise Unreachable(
                        "Google gave no token for the service account.",
                        "Look whether its token endpoint is reached from here, and at Google's status page.",
                    ) from None
                except GoogleAuthError:
                    raise self._refused("Google refuses the key of the service account.") from None
                except (ValueError, LookupError, TypeError, AttributeError):  # says no more: they quote what came
                    raise Unreachable(
                        "What answered is not Google's token endpoint.",
                        "Look at the key's `token_uri`, and at what stands between it and here.",
                    ) from None
            return str(access.token)

    def forget(self) -> None:
        """The token was refused: the next one is another."""
        with _lock:
            _known.pop(resolve(self.credentials), None)

    def _parse(self, key: str) -> "Credentials":
        from google.auth.exceptions import GoogleAuthError
        from google.oauth2.service_account import Credentials

        try:
            return Credentials.from_service_account_info(json.loads(key), scopes=_SCOPES)  # type: ignore[no-any-return]
        except (ValueError, TypeError, AttributeError, GoogleAuthError):  # says no more: they quote parts of the key
            raise self._refused(f"{self.credentials} is not the key of a service account.") from None

    def _refused(self, message: str) -> BackstopError:
        return self.refusal(
            message,
            "Give it the JSON of a key that is enabled, and look at the clock of this machine. Nothing was changed.",
        )


@dataclass(frozen=True)
class _Answer:
    """As google.auth.transport.Response."""

    status: int
    headers: Mapping[str, str]
    data: bytes


@dataclass(frozen=True)
class _Transport:
    """As google.auth.transport.Request. It tries once: whoever calls knows whether that may be repeated."""

    seconds: float

    def __call__(
        self, url: str, method: str = "GET", body: bytes | None = None, headers: Any = None, **_: Any
    ) -> _Answer:
        from google.auth.exceptions import TransportError

        try:
            answer = bounded_call(method, url, self.seconds, _MOST_BYTES, content=body, headers=headers or {})
        except (TimeoutError, TooLong, httpx.HTTPError, httpx.InvalidURL) as error:
            raise TransportError(type(error).__name__) from None
        if answer.is_server_error or answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise TransportError(f"status {answer.status_code}")
        return _Answer(answer.status_code, answer.headers, answer.content)
