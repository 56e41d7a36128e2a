"""A stand-in for where Google gives out access tokens (RFC 7523): it knows one service account, by its public key.

https://developers.google.com/identity/protocols/oauth2/service-account#httprest
"""

import base64
import functools
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.standins.serving import serving

ACCOUNT = "backstop@shop-project.iam.gserviceaccount.com"
TOKEN_MARK = "google-token-of-the-test"
"""All tokens begin like that."""
_LONGEST_SECONDS = 3600
_AUDIENCE = "https://oauth2.googleapis.com/token"
"""Also where a key names another endpoint."""
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@functools.cache
def _private_key() -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


@dataclass
class GoogleTokens:
    key_id: str = field(default_factory=lambda: uuid4().hex)
    """No two keys are the same: a process that knows one and has its token must not take the next one for it, not even
    where that is at a port that was used before."""
    token_uri: str = ""
    good_for: int = _LONGEST_SECONDS
    """Seconds that the next token is said to be."""
    disabled: bool = False
    """The key."""
    fails: bool = False
    given: list[str] = field(default_factory=list)
    """The tokens, oldest first."""
    violations: list[str] = field(default_factory=list)
    """What was wrong with a request."""
    _good: set[str] = field(default_factory=set)

    def key(self) -> str:
        """As it is downloaded from Google."""
        private = _private_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return json.dumps(
            {
                "type": "service_account",
                "project_id": "shop-project",
                "private_key_id": self.key_id,
                "private_key": private,
                "client_email": ACCOUNT,
                "client_id": "1",
                "token_uri": self.token_uri,
            }
        )

    def lets_in(self, authorization: str | None) -> bool:
        """That header."""
        return (authorization or "").removeprefix("Bearer ") in self._good

    def revoke(self) -> None:
        """All tokens that were given."""
        self._good.clear()

    def application(self) -> Starlette:
        return Starlette(routes=[Route("/token", self._give, methods=["POST"])])

    async def _give(self, request: Request) -> Response:
        content = (await request.body()).decode()
        if self.fails:
            return JSONResponse({"error": "internal_failure"}, 500)
        if wrong := _wrong_with(content):
            self.violations.append(wrong)
        if wrong or self.disabled:
            return JSONResponse({"error": "invalid_grant", "error_description": wrong or content}, 400)
        self.given.append(f"{TOKEN_MARK}-{uuid4().hex}")
        self._good.add(self.given[-1])
        return JSONResponse({"access_token": self.given[-1], "expires_in": self.good_for, "token_type": "Bearer"})


def _wrong_with(content: str) -> str:
    form = parse_qs(content)
    if form.get("grant_type") != [_GRANT]:
        return "another grant"
    signed, _, signature = form["assertion"][0].rpartition(".")
    try:
        _private_key().public_key().verify(_decoded(signature), signed.encode(), padding.PKCS1v15(), SHA256())
    except InvalidSignature:
        return "the signature is not the key's"
    header, claims = (json.loads(_decoded(part)) for part in signed.split("."))
    wanted = {"iss": ACCOUNT, "aud": _AUDIENCE, "scope": _SCOPE}
    if header["alg"] != "RS256" or {**claims, **wanted} != claims:
        return f"it claims {sorted(claims)} of others"
    return "" if _is_in_time(claims) else "not of now"


def _is_in_time(claims: dict[str, Any]) -> bool:
    return bool(claims["iat"] <= time.time() + 60 and time.time() < claims["exp"] <= claims["iat"] + _LONGEST_SECONDS)


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@contextmanager
def running_google_tokens() -> Iterator[GoogleTokens]:
    tokens = GoogleTokens()
    with serving(tokens.application()) as url:
        tokens.token_uri = f"{url}/token"
        yield tokens
    assert tokens.violations == []
