"""Request bodies, read within bounds."""

import json
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

LARGEST = 1_000_000


async def read_body(request: Request) -> bytes:
    """Refuses more than LARGEST bytes with 413."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST:
            raise HTTPException(413, f"at most {LARGEST} bytes")
    return bytes(body)


async def read_fields(request: Request) -> dict[str, Any]:
    """Refuses whatever is not a JSON object with 400."""
    try:
        fields = json.loads(await read_body(request))
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise HTTPException(400, "the body must be a JSON object")
    return fields
