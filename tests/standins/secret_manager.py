"""A stand-in for Google's Secret Manager: secrets of one project, with their versions.

Every request and every answer is held against Google's description. Assumed, as no description says it: that an empty
value is refused, and how what is not there, or destroyed, is refused. That a version is enabled or disabled which is so
already changes nothing but its etag: https://docs.cloud.google.com/secret-manager/docs/etags
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
    destroyed: set[int] = field(default_factory=set)
    changes: list[str] = field(default_factory=list)
    """What was done to it, as `add 1`, `disable 1`, oldest first."""

    def state(self, number: int) -> str:
        return "DESTROYED" if number in self.destroyed else "DISABLED" if number in self.disabled else "ENABLED"

    def enabled(self) -> list[int]:
        return [number for number in range(1, len(self.versions) + 1) if self.state(number) == "ENABLED"]


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
        self.kept_enabled: set[int] = set()
        """Versions that the account may not disable."""
        self._tokens = tokens

    def forget(self) -> None:
        self.secrets, self.behind, self.spoils, self.denied, self.kept_enabled = {}, 0, False, False, set()

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
            ("GET", f"{secret}/versions/{{number:int}}:access", self._access),
            ("GET", f"{secret}/versions", self._list),
            ("POST", f"{secret}/versions/{{number:int}}:disable", self._disable),
            ("POST", f"{secret}/versions/{{number:int}}:enable", self._enable),
        ]

    def _add(self, request: Request, asked: Any) -> Answer:
        kept = self._secret(request)
        data = b64decode(asked["payload"]["data"])
        if not data:
            raise _refusal(400, "INVALID_ARGUMENT", "Secret Payload cannot be empty.")
        if asked["payload"]["dataCrc32c"] != str(crc32c(data)):
            raise _refusal(400, "INVALID_ARGUMENT", "The payload's checksum is another one.")
        kept.versions.append(data)
        kept.changes.append(f"add {len(kept.versions)}")
        return 200, self._version(request, kept, len(kept.versions))

    def _access_latest(self, request: Request, asked: Any) -> Answer:
        kept = self._secret(request)
        number = len(kept.versions)
        if self.behind:
            self.behind, number = self.behind - 1, number - 1
        return self._give(request, kept, number)

    def _access(self, request: Request, asked: Any) -> Answer:
        return self._give(request, self._secret(request), request.path_params["number"])

    def _list(self, request: Request, asked: Any) -> Answer:
        """The newest first, two a page, for somebody must turn it."""
        kept = self._secret(request)
        newest = len(kept.versions) - int(request.query_params.get("pageToken", "0"))
        shown = [self._version(request, kept, number) for number in range(newest, max(0, newest - 2), -1)]
        more = {"nextPageToken": str(len(kept.versions) - newest + 2)} if newest > 2 else {}
        return 200, {"versions": shown, "totalSize": len(kept.versions), **more}

    def _disable(self, request: Request, asked: Any) -> Answer:
        return self._change(request, "disable")

    def _enable(self, request: Request, asked: Any) -> Answer:
        return self._change(request, "enable")

    def _change(self, request: Request, verb: str) -> Answer:
        kept, number = self._secret(request), request.path_params["number"]
        if verb == "disable" and number in self.kept_enabled:
            raise _refusal(403, "PERMISSION_DENIED", "Permission 'secretmanager.versions.disable' denied.")
        self._require(request, kept, number, "ENABLED", "DISABLED")
        kept.changes.append(f"{verb} {number}")
        kept.disabled = kept.disabled | {number} if verb == "disable" else kept.disabled - {number}
        return 200, self._version(request, kept, number)

    def _require(self, request: Request, kept: Kept, number: int, *states: str) -> None:
        if not 0 < number <= len(kept.versions):
            raise _not_found(request)
        if kept.state(number) not in states:
            what = f"Secret Version [{self._name(request, number)}] is in {kept.state(number)} state."
            raise _refusal(400, "FAILED_PRECONDITION", what)

    def _version(self, request: Request, kept: Kept, number: int) -> dict[str, Any]:
        return {
            "name": self._name(request, number),
            "createTime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
            "state": kept.state(number),
            "clientSpecifiedPayloadChecksum": True,
            "etag": f'"{len(kept.changes)}"',
        }

    def _give(self, request: Request, kept: Kept, number: int) -> Answer:
        self._require(request, kept, number, "ENABLED")
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
