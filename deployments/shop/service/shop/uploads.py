"""Files that visitors leave here."""

import hashlib

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shop.bodies import read_body
from shop.parts import parts_of


async def save_upload(request: Request) -> Response:
    body = await read_body(request)
    upload = await parts_of(request).database.fetch_one(
        "insert into uploads (sha256, body) values (%s, %s) returning id::text, sha256",
        *(hashlib.sha256(body).hexdigest(), body),
    )
    return JSONResponse(upload, 201)


async def show_upload(request: Request) -> Response:
    upload = await parts_of(request).database.fetch_one(
        "select body from uploads where id = %s", request.path_params["id"]
    )
    if upload is None:
        raise HTTPException(404, "no such upload")
    return Response(upload["body"], media_type="application/octet-stream")
