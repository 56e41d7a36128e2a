"""Files that visitors leave here."""

import hashlib

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shop.bodies import read_body
from shop.encryption import MARK
from shop.parts import parts_of


async def save_upload(request: Request) -> Response:
    body = await read_body(request)
    parts = parts_of(request)
    upload = await parts.database.fetch_one(
        "insert into uploads (sha256, body) values (%s, %s) returning id::text, sha256",
        *(hashlib.sha256(body).hexdigest(), parts.encryption.encrypt(body)),
    )
    return JSONResponse(upload, 201)


async def show_upload(request: Request) -> Response:
    """What another key than the first encrypted is encrypted anew."""
    parts, upload_id = parts_of(request), request.path_params["id"]
    upload = await parts.database.fetch_one("select body from uploads where id = %s", upload_id)
    if upload is None:
        raise HTTPException(404, "no such upload")
    body = parts.encryption.decrypt(upload["body"])
    if not parts.encryption.is_current(upload["body"]):
        await parts.database.fetch_all(
            "update uploads set body = %s where id = %s", parts.encryption.encrypt(body), upload_id
        )
    return Response(body, media_type="application/octet-stream")


async def count_encrypted(request: Request) -> JSONResponse:
    """How many uploads each key protects, by its fingerprint."""
    start = len(MARK) + 1
    rows = await parts_of(request).database.fetch_all(
        f"select convert_from(substring(body from {start} for 16), 'UTF8') as key, count(*) as uploads"
        f" from uploads where substring(body for {len(MARK)}) = %s group by 1",
        MARK,
    )
    return JSONResponse({"uploads": {row["key"]: row["uploads"] for row in rows}})
