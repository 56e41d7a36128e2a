"""Tasks: each belongs to the user who made it."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shop.bodies import read_fields
from shop.parts import parts_of
from shop.sessions import require_user
from shop.work import work

COLUMNS = "id, title, done"
NEWEST = 50
LONGEST_TITLE = 200


async def list_tasks(request: Request) -> Response:
    user = require_user(request)
    await work()
    tasks = await parts_of(request).database.fetch_all(
        f"select {COLUMNS} from tasks where user_id = %s order by id desc limit {NEWEST}", user
    )
    return JSONResponse({"tasks": tasks})


async def create_task(request: Request) -> Response:
    user = require_user(request)
    title = check_title(await read_fields(request))
    await work()
    task = await parts_of(request).database.fetch_one(
        f"insert into tasks (user_id, title) values (%s, %s) returning {COLUMNS}", user, title
    )
    return JSONResponse(task, 201)


async def show_task(request: Request) -> Response:
    user = require_user(request)
    await work()
    task = await parts_of(request).database.fetch_one(
        f"select {COLUMNS} from tasks where id = %s and user_id = %s", request.path_params["id"], user
    )
    return JSONResponse(found(task))


async def change_task(request: Request) -> Response:
    user = require_user(request)
    fields = await read_fields(request)
    title = check_title(fields) if "title" in fields else None
    done = check_done(fields) if "done" in fields else None
    await work()
    task = await parts_of(request).database.fetch_one(
        "update tasks set title = coalesce(%s, title), done = coalesce(%s, done)"
        f" where id = %s and user_id = %s returning {COLUMNS}",
        *(title, done, request.path_params["id"], user),
    )
    return JSONResponse(found(task))


async def delete_task(request: Request) -> Response:
    user = require_user(request)
    await work()
    task = await parts_of(request).database.fetch_one(
        "delete from tasks where id = %s and user_id = %s returning id", request.path_params["id"], user
    )
    found(task)
    return Response(status_code=204)


def found(task: dict[str, Any] | None) -> dict[str, Any]:
    if task is None:
        raise HTTPException(404, "no such task")
    return task


def check_title(fields: dict[str, Any]) -> str:
    title = fields.get("title")
    if not isinstance(title, str) or not title.isprintable() or not 0 < len(title) <= LONGEST_TITLE:
        raise HTTPException(400, f"title must be one line of 1 to {LONGEST_TITLE} characters")
    return title


def check_done(fields: dict[str, Any]) -> bool:
    done = fields["done"]
    if not isinstance(done, bool):
        raise HTTPException(400, "done must be true or false")
    return done
