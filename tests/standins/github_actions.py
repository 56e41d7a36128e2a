"""A stand-in for the part of GitHub's API that keeps the secrets of its Actions.

It has the private halves of the keys, so that tests see what arrived, and gives no value back, as GitHub. Every request
and every answer is held against the published description. It misbehaves on demand.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.standins.description import Description
from tests.standins.standing_in import Act, Answer, Refusal, StandIn, served

REPOSITORY, ENVIRONMENT, TOKEN = "example/shop", "production, blue/green", "github-token-of-the-test"
_MOST = 100


@dataclass
class Kept:
    """The secrets of the repository, or of one environment, which has a key of its own."""

    key: PrivateKey = field(default_factory=PrivateKey.generate)
    key_id: str = field(default_factory=lambda: uuid4().hex)
    values: dict[str, str] = field(default_factory=dict)
    """By their names, in capitals."""
    dates: dict[str, dict[str, str]] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)
    """Every value that ever arrived, oldest first."""

    def put(self, name: str, value: str) -> bool:
        """Whether it is a new one."""
        is_new, now = name not in self.values, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        self.values[name] = value
        self.dates[name] = {"created_at": now, **self.dates.get(name, {}), "updated_at": now}
        self.written.append(value)
        return is_new

    def remove(self, name: str) -> None:
        del self.values[name], self.dates[name]


class GithubStandIn(StandIn):
    def __init__(self, description: Description) -> None:
        super().__init__(description)
        self.repository, self.environment = Kept(), Kept()
        self.expired = False
        """The token."""
        self.forgetful = False
        """A write is accepted, and nothing comes of it."""
        self.tells_reset = False
        """When its limit ends, instead of for how long to wait."""

    def forget(self) -> None:
        self.repository, self.environment = Kept(), Kept()
        self.expired = self.forgetful = self.tells_reset = False

    def routes(self) -> list[tuple[str, str, Act]]:
        own = (f"/repos/{REPOSITORY}/actions/secrets", lambda: self.repository)
        of_environment = (f"/repos/{REPOSITORY}/environments/{ENVIRONMENT}/secrets", lambda: self.environment)
        acts = [("GET", "", self._list), ("GET", "/public-key", self._get_key), ("PUT", "/{secret}", self._put)]
        known = [
            (verb, f"{place}{path}", self._on(kept, act))
            for place, kept in (own, of_environment)
            for verb, path, act in acts
        ]
        return [*known, ("GET", "/{path:path}", _know_nothing), ("PUT", "/{path:path}", _know_nothing)]

    def put_off(self, headers: dict[str, str]) -> Response:
        if self.tells_reset:
            headers = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}
        return JSONResponse(_told("You have exceeded a secondary rate limit."), 403, headers)

    def _on(self, kept: Callable[[], Kept], act: Callable[[Kept, Request, Any], Answer]) -> Act:
        def acting(request: Request, asked: Any) -> Answer:
            good = () if self.expired else (f"Bearer {TOKEN}", f"token {TOKEN}")
            if request.headers.get("Authorization") not in good:
                raise Refusal(401, _told("Bad credentials"))
            return act(kept(), request, asked)

        return acting

    def _list(self, kept: Kept, request: Request, asked: Any) -> Answer:
        shown = [{"name": name, **dates} for name, dates in sorted(kept.dates.items())]
        most = min(int(request.query_params.get("per_page", "30")), _MOST)
        return 200, {"total_count": len(shown), "secrets": shown[:most]}

    def _get_key(self, kept: Kept, request: Request, asked: Any) -> Answer:
        return 200, {"key_id": kept.key_id, "key": b64encode(bytes(kept.key.public_key)).decode()}

    def _put(self, kept: Kept, request: Request, asked: Any) -> Answer:
        if asked["key_id"] != kept.key_id:
            raise Refusal(422, _told("Bad request - key_id is not that of this repository or environment"))
        try:
            value = SealedBox(kept.key).decrypt(b64decode(asked["encrypted_value"])).decode()
        except CryptoError:
            raise Refusal(422, _told("Bad request - encrypted_value is not sealed to the key")) from None
        name = request.path_params["secret"].upper()
        if name.startswith("GITHUB_"):
            raise Refusal(422, _told("Secret names must not start with GITHUB_"))
        if self.forgetful:
            return 204, None
        return (201, {}) if kept.put(name, value) else (204, None)


def _know_nothing(request: Request, asked: Any) -> Answer:
    raise Refusal(404, _told("Not Found"))


def _told(message: str) -> dict[str, str]:
    return {"message": message, "documentation_url": "https://docs.github.com/rest"}


@contextmanager
def running_github(description: Description) -> Iterator[GithubStandIn]:
    """In the end all calls were as GitHub describes them."""
    standing_in = GithubStandIn(description)
    with served(standing_in):
        yield standing_in
    assert standing_in.violations == []
