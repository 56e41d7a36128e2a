"""One HTTP GET that ends in time and in memory, whatever the other side does."""

import re
from typing import NamedTuple

import httpx

from blocks.bounded_call import TooLong, bounded_call
from blocks.errors import Unreachable


class Answer(NamedTuple):
    status: int
    body: bytes


def bounded_get(url: str, seconds: float, most_bytes: int) -> Answer:
    """The answer of `url`, redirects not followed.

    Raises Unreachable: no whole answer within `seconds`, or one of more than `most_bytes`. A login in the address is
    not in its message.
    """
    shown = re.sub(r"//[^/]*@", "//", url)
    try:
        answer = bounded_call("GET", url, seconds, most_bytes)
    except TimeoutError:
        raise Unreachable(f"{shown} gave no whole answer within {seconds:g} s.") from None
    except TooLong:
        raise Unreachable(f"{shown} answers with more than {most_bytes} bytes.") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unreachable(f"{shown} does not answer: {str(error) or type(error).__name__}.") from None
    return Answer(answer.status_code, answer.content)
