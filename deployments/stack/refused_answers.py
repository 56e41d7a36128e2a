"""Answers to a run's form that Prefect's server itself refuses. No flow ever sees them: the server notes down that they
came, and the supervisor brings that into the trail. What was typed is not kept, it may be a code.
"""

import gzip
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

FOLDER = "refused-answers"
"""In the state folder: for each run that was resumed in vain a file, with how often."""
_RESUME = re.compile(r"/api/flow_runs/([0-9a-fA-F-]{32,36})/resume/?")
_REFUSALS = ("REJECT", "ABORT")


class NotesRefusals:
    """Prefect's server, which counts them."""

    def __init__(self, server: "ASGIApp", folder: Path) -> None:
        self._server, self._folder = server, folder

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        resumed = _RESUME.fullmatch(scope.get("path", "")) if scope["type"] == "http" else None
        if resumed is None:
            await self._server(scope, receive, send)
            return
        body, packed = bytearray(), False

        async def pass_on(message: "Message") -> None:
            nonlocal packed
            if message["type"] == "http.response.start":
                packed = (b"content-encoding", b"gzip") in message["headers"]
            body.extend(message.get("body", b""))
            await send(message)

        await self._server(scope, receive, pass_on)
        if _status_of(gzip.decompress(body) if packed else bytes(body)) in _REFUSALS:
            self._count(resumed[1])

    def _count(self, run_id: str) -> None:
        with suppress(OSError, ValueError):  # a full disk keeps nobody from his answer
            file = self._folder / str(UUID(run_id))
            file.write_text(str(_read(file) + 1))


def take_refusals(folder: Path) -> Iterator[tuple[str, int]]:
    """(run id, how many were refused since this was asked last). Each counts as taken when the next is asked for:
    who fails in between gets it again.
    """
    for file in sorted(folder.glob("*")) if folder.is_dir() else []:
        aside = file.with_name(f".{file.name.lstrip('.')}")
        with suppress(FileNotFoundError):  # somebody else takes them, too
            if file != aside and not aside.exists():
                file.rename(aside)  # the server begins a new one
            yield aside.name.lstrip("."), _read(aside)
            aside.unlink()


def _status_of(body: bytes) -> str:
    try:
        answer: Any = json.loads(body)
        return str(answer["status"])
    except (ValueError, LookupError, TypeError):
        return ""


def _read(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 0
