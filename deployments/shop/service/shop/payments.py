"""Events of the payment provider, signed the way Stripe signs."""

import hashlib
import hmac
import time

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shop.bodies import read_body
from shop.parts import parts_of

TOLERANCE_SECONDS = 300


async def receive_event(request: Request) -> Response:
    """An event that arrives twice is kept once: providers repeat until they hear "ok"."""
    body = await read_body(request)
    parts = parts_of(request)
    if not is_signed(request.headers.get("X-Signature", ""), body, parts.settings.webhook_secret):
        raise HTTPException(400, "wrong signature")
    await parts.database.fetch_all(
        "insert into payment_events (sha256, body) values (%s, %s) on conflict do nothing",
        *(hashlib.sha256(body).hexdigest(), body),
    )
    return JSONResponse({"ok": True})


def is_signed(signature: str, body: bytes, secret: bytes) -> bool:
    """`t=<unix seconds>,v1=<hex>`; several v1 may be given while the provider changes its secret."""
    fields = [field.strip().partition("=") for field in signature.split(",")]
    times = [value for name, _, value in fields if name == "t"]
    if len(times) != 1 or not (times[0].isascii() and times[0].isdigit()):
        return False
    if abs(time.time() - int(times[0])) > TOLERANCE_SECONDS:
        return False
    expected = hmac.new(secret, times[0].encode() + b"." + body, hashlib.sha256).hexdigest()
    return any(hmac.compare_digest(value.encode(), expected.encode()) for name, _, value in fields if name == "v1")
