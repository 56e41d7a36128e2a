"""A stand-in for Google's Secret Manager: secrets of one project, with their versions.

Every request and every answer is held against Google's description. Assumed, as no description says it: that an empty
value is refused, and how what is not there is refused.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request

from blocks.sinks.google_secret_manager import crc32c
from tests.standins.discovery import Discovery
from tests.standins.google_token import GoogleTokens
from tests.standins.standing_in import Act, Answer, Refusal, StandIn, served

PROJECT, NUMBER, PREFIX = "shop-project", "123456789012", "shop-production-"


@dataclass
class Kept:
    """A secret."""

    versions: list[bytes] = field(default_factory=list)
    """Oldest first."""
    disabled: set[int] = field(default_factory=set)
    """Numbers of versions."""


class SecretManagerStandIn(StandIn):
    def __init__(self, tokens: GoogleTokens, description: Discovery) -> None:
        super().__init__(description)
        self.secrets: dict[str, Kept] = {}
        """By their names, prefix included."""
        self.behind = 0
        """How many of the next looks at `latest` do not see the newest version."""
        self.spoils = False
        """What it hands out is not what it kept."""
        self.denied = False
        """The account may nothing."""
        self._tokens = tokens

    def forget(self) -> None:
        self.secrets, self.behind, self.spoils, self.denied = {}, 0, False, False

    def make(self, *names: str) -> None:
        """Without a version."""
        self.secrets |= {f"{PREFIX}{name}": Kept() for name in names}

    def versions(self, name: str) -> list[str]:
        """Values, oldest first."""
        return [one.decode() for one in self.secrets[f"{PREFIX}{name}"].versions]

    def routes(self) -> list[tuple[str, str, Act]]:
        secret = f"/v1/projects/{PROJECT}/secrets/{{secret}}"
        return [
            ("POST", f"{secret}:addVersion", self._add),
            ("GET", f"{secret}/versions/latest:access", self._access_latest),
        ]

    def _add(self, request: Request, asked: Any) -> Answer:
        kept = self._secret(request)
        data = b64decode(asked["payload"]["data"])
        if not data:
            raise _refusal(400, "INVALID_ARGUMENT", "Secret Payload cannot be empty.")
        if asked["payload"]["dataCrc32c"] != str(crc32c(data)):
            raise _refusal(400, "INVALID_ARGUMENT", "The payload's checksum is another one.")
        kept.versions.append(data)
        return 200, {
            "name": self._name(request, len(kept.versions)),
            "createTime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
            "state": "ENABLED",
            "clientSpecifiedPayloadChecksum": True,
            "etag": '"1"',
        }

    def _access_latest(self, request: Request, asked: Any) -> Answer:
        kept = self._secret(request)
        number = len(kept.versions)
        if self.behind:
            self.behind, number = self.behind - 1, number - 1
        if number <= 0:
            raise _not_found(request)
        if number in kept.disabled:
            name = self._name(request, number)
            raise _refusal(400, "FAILED_PRECONDITION", f"Secret Version [{name}] is in DISABLED state.")
        data = kept.versions[number - 1]
        shown = data[:-1] if self.spoils else data
        payload = {"data": b64encode(shown).decode(), "dataCrc32c": str(crc32c(data))}
        return 200, {"name": self._name(request, number), "payload": payload}

    def _secret(self, request: Request) -> Kept:
        if not self._tokens.lets_in(request.headers.get("Authorization")):
            raise _refusal(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
        if self.denied:
            raise _refusal(403, "PERMISSION_DENIED", "Permission denied for resource.")
        if request.path_params["secret"] not in self.secrets:
            raise _not_found(request)
        return self.secrets[request.path_params["secret"]]

    def _name(self, request: Request, number: int) -> str:
        """With the project's number, as Google answers."""
        return f"projects/{NUMBER}/secrets/{request.path_params['secret']}/versions/{number}"


def _not_found(request: Request) -> Refusal:
    return _refusal(404, "NOT_FOUND", f"Secret [{request.path_params['secret']}] not found or has no versions.")


def _refusal(code: int, status: str, message: str) -> Refusal:
    return Refusal(code, {"error": {"code": code, "status": status, "message": message}})


@contextmanager
def running_secret_manager(tokens: GoogleTokens, description: Discovery) -> Iterator[SecretManagerStandIn]:
    """In the end all calls were as Google describes them."""
    with served(standing_in := SecretManagerStandIn(tokens, description)):
        yield standing_in
    assert standing_in.violations == []
