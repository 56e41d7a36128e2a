"""One HTTP GET that ends in time and in memory, whatever the other side does."""

import asyncio
import contextlib
import re
from typing import NamedTuple

import httpx

from blocks.errors import Unreachable
from blocks.trust import trusted_certificates


class Answer(NamedTuple):
    status: int
    body: bytes


def bounded_get(url: str, seconds: float, most_bytes: int) -> Answer:
    """The answer of `url`, uncompressed, redirects not followed.

    `seconds` bounds the whole call. httpx bounds each read only, so a server that drips a
    byte now and then, in its headers too, would hold it for ever; cancelling does not wait.
    Raises Unreachable: no whole answer in time, or one of more than `most_bytes`. A login in the
    address is not in its message.
    """
    shown = re.sub(r"//[^/]*@", "//", url)
    with contextlib.closing(asyncio.new_event_loop()) as loop:
        try:
            return loop.run_until_complete(asyncio.wait_for(_get(url, shown, seconds, most_bytes), seconds))
        except TimeoutError:
            raise Unreachable(f"{shown} gave no whole answer within {seconds:g} s.") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(f"{shown} does not answer: {str(error) or type(error).__name__}.") from None
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())


async def _get(url: str, shown: str, seconds: float, most_bytes: int) -> Answer:
    body = bytearray()
    async with (
        httpx.AsyncClient(timeout=seconds, verify=trusted_certificates(), trust_env=False) as client,
        client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response,
    ):
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > most_bytes:
                raise Unreachable(f"{shown} answers with more than {most_bytes} bytes.")
        return Answer(response.status_code, bytes(body))
