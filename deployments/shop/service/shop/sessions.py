"""Who is asking: passwords, and signed tokens that need no look-up."""

import base64
import hashlib
import hmac
import json
import os
import time
from collections.abc import Iterable
from typing import Any

import psycopg
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from shop.bodies import read_fields
from shop.parts import parts_of

VALID_SECONDS = 12 * 3600
SCRYPT_ROUNDS = 2**10
"""About 4 ms of one core. A service with real passwords would spend more."""


async def log_in(request: Request) -> JSONResponse:
    fields = await read_fields(request)
    parts = parts_of(request)
    name, password = str(fields.get("name")), str(fields.get("password"))
    user = await parts.database.fetch_one("select id, password from users where name = %s", _storable(name))
    if user is None or not is_password(password, user["password"]):
        raise HTTPException(401, "wrong name or password")
    return JSONResponse({"token": make_token(user["id"], parts.settings.session_secrets[0])})


def require_user(request: Request) -> int:
    """The user's id, from the bearer token. Refuses with 401."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    user = read_token(token, parts_of(request).settings.session_secrets) if scheme == "Bearer" else None
    if user is None:
        raise HTTPException(401, "log in first", headers={"WWW-Authenticate": "Bearer"})
    return user


def make_token(user_id: int, secret: bytes) -> str:
    content = json.dumps({"user": user_id, "until": int(time.time()) + VALID_SECONDS})
    payload = base64.urlsafe_b64encode(content.encode()).decode()
    return f"{payload}.{_sign(payload, secret)}"


def read_token(token: str, secrets: Iterable[bytes]) -> int | None:
    """The user's id; None when the token was signed with none of these secrets or is too old."""
    payload, _, signature = token.partition(".")
    if not any(hmac.compare_digest(signature.encode(), _sign(payload, secret).encode()) for secret in secrets):
        return None
    content: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload))
    return int(content["user"]) if content["until"] > time.time() else None


def hash_password(password: str) -> str:
    salt = os.urandom(16)
    return f"{salt.hex()}:{_scrypt(password, salt).hex()}"


def is_password(password: str, stored: str) -> bool:
    salt, _, expected = stored.partition(":")
    return hmac.compare_digest(_scrypt(password, bytes.fromhex(salt)).hex(), expected)


def save_demo_user(database_url: str, password: str) -> None:
    with psycopg.connect(database_url, connect_timeout=5, client_encoding="utf8") as connection:
        connection.execute(
            "insert into users (name, password) values ('demo', %s)"
            " on conflict (name) do update set password = excluded.password",
            [hash_password(password)],
        )


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(errors="replace"), salt=salt, n=SCRYPT_ROUNDS, r=8, p=1)


def _sign(payload: str, secret: bytes) -> str:
    return hmac.new(secret, payload.encode(errors="replace"), hashlib.sha256).hexdigest()


def _storable(name: str) -> str:
    """PostgreSQL refuses what no name can contain; such a name is simply unknown."""
    return name if name.isprintable() else ""
