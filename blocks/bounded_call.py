"""One HTTP call that ends in time and in memory, whatever the other side does."""

import asyncio
import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from blocks.trust import trusted_certificates

for _name in ("httpx", "httpcore"):  # they log whole addresses and all that is answered, and some of it is secret
    logging.getLogger(_name).setLevel(logging.WARNING)


class TooLong(Exception):
    """The answer has more bytes than it may."""


def bounded_call(method: str, url: str, seconds: float, most_bytes: int, **content: Any) -> httpx.Response:
    """The whole answer; redirects are not followed, nor the environment's proxies used.

    `seconds` bounds the whole call. httpx bounds each read only, so a server that drips a byte now and then, in its
    headers too, would hold it for ever; cancelling does not wait.
    Raises TimeoutError, TooLong, httpx.HTTPError or httpx.InvalidURL. Some of httpx's quote what was sent.
    """
    with contextlib.closing(asyncio.new_event_loop()) as loop, ThreadPoolExecutor(1) as aside:
        call = loop.create_task(asyncio.wait_for(_call(method, url, seconds, most_bytes, content), seconds))
        # Not in this thread: a signal that ends whoever called would be taken for a failure of the connection there.
        answer = aside.submit(_run, loop, call)
        try:
            return answer.result()
        except httpx.TimeoutException:
            raise TimeoutError from None
        finally:
            if not answer.done():
                loop.call_soon_threadsafe(call.cancel)


def _run(loop: asyncio.AbstractEventLoop, call: "asyncio.Task[httpx.Response]") -> httpx.Response:
    try:
        return loop.run_until_complete(call)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())


async def _call(method: str, url: str, seconds: float, most_bytes: int, content: dict[str, Any]) -> httpx.Response:
    """Asked for uncompressed: a few bytes may be packed out of which gigabytes come."""
    headers = httpx.Headers({"Accept-Encoding": "identity"} | dict(content.pop("headers", {})))
    body = bytearray()
    async with (
        httpx.AsyncClient(timeout=seconds, verify=trusted_certificates(), trust_env=False) as client,
        client.stream(method, url, headers=headers, **content) as answer,
    ):
        async for chunk in answer.aiter_raw():
            body += chunk
            if len(body) > most_bytes:
                raise TooLong
        return httpx.Response(answer.status_code, headers=answer.headers, content=bytes(body), request=answer.request)
