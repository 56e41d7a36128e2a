"""How a vendor's HTTP API is called: in time, again only where that is harmless, and with errors that hold no token.

Nothing is repeated but what a vendor did not carry out: what it put off with 429, and what came with a token that had
run out. Redirects are not followed: the token would go wherever they point. No foreign error is quoted: some quote the
header that holds the token. A vendor's words are, without what it was sent in secret: some quote that back.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import TypeAdapter

from blocks.bounded_call import TooLong, bounded_call
from blocks.errors import BackstopError, RefusedByPlatform, Unreachable
from blocks.rate_limit import LONGEST_FOR_A_CHANGE_SECONDS, LONGEST_SECONDS, ask_when_allowed, read_retry_after
from blocks.reference import resolve

Shape = TypeVar("Shape")

_SEVERAL_LINES = 300
"""Characters of a vendor's words that a message quotes."""
_LEAST_SECRET = 4
"""Characters. Without `1` or `yes` no message could be read, and nobody takes them for a secret."""
_NOT_OF_THAT_SHAPE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""Raised by who reads something else out of JSON, or what is no JSON."""
MOST_BYTES = 50_000_000
"""Of one answer."""


class PassingToken(Protocol):
    """A token that is got for a while, and got anew."""

    def read(self) -> str:
        """One that should be good. Raises Unreachable, or that it is refused."""

    def forget(self) -> None:
        """It was refused: read gets another one."""


@dataclass(frozen=True)
class VendorApi:
    """One API at one address. References in it are looked up at each call."""

    named: str
    """As messages call it: `Vercel`, or `The sandbox platform at http://127.0.0.1:8081`."""
    url: str
    token: str | PassingToken | None
    """A reference to one, or what gets one."""
    seconds: float
    """For one call."""
    look: str
    """What to look at where it does not answer."""
    unauthorized: str
    """What to do where it refuses the token."""
    read_reason: Callable[[Any], object]
    """Its own words out of the JSON of a refusal."""
    refusal: type[BackstopError] = RefusedByPlatform
    """Raised for an answer that says no."""
    missing: type[BackstopError] | None = None
    """Raised instead for one that says 404, where the two are told apart."""
    sent_as: str = "Authorization: Bearer {}"
    """The header that the token is sent in."""
    request_id: str = ""
    """The header that says under which number the vendor has kept a call."""
    read_wait: Callable[[httpx.Response], float | None] = read_retry_after
    """Seconds until a call may be repeated, in the vendor's dialect; None where it was not put off."""

    def call(self, method: str, path: str, private: Iterable[str] = (), **content: Any) -> httpx.Response:
        """Raises Unreachable, `refusal` or `missing`; none of them quotes what of the content is `private`.

        A connection a call: a kept one may be one that the other side has closed.
        """
        answer = self._ask(method, path, content)
        if answer.status_code == httpx.codes.UNAUTHORIZED and self.token and not isinstance(self.token, str):
            self.token.forget()  # what was not let in has changed nothing: it may be repeated
            answer = self._ask(method, path, content)
        if self.read_wait(answer) is not None or answer.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise Unreachable(f"{self.named} takes no more calls for a moment{self.number_of(answer)}.", self.look)
        if answer.is_client_error:
            refusal = self.missing if answer.status_code == httpx.codes.NOT_FOUND and self.missing else self.refusal
            reason = f"{self._reason(answer, private)}{self.number_of(answer)}"
            raise refusal(f"{self.named} refused: {reason}.", self._hint(answer))
        if not answer.is_success:
            status = f"status {answer.status_code}{self.number_of(answer)}"
            raise Unreachable(f"{self.named} failed with {status}.", self.look)
        return answer

    def parsed(self, shape: type[Shape], answer: httpx.Response, *path: str) -> Shape:
        """What stands at that path in the answer's JSON. Raises Unreachable where it is not of that shape."""
        try:
            content = answer.json()
            for name in path:
                content = content[name]
        except _NOT_OF_THAT_SHAPE:
            raise self._unexpected() from None
        return self.shaped(shape, content)

    def shaped(self, shape: type[Shape], content: object) -> Shape:
        """A part of an answer. Raises Unreachable where it is not of that shape."""
        try:
            return TypeAdapter(shape).validate_python(content)
        except ValueError:
            raise self._unexpected() from None

    @property
    def scheme(self) -> str:
        """`https`, but for a stand-in: what a vendor runs answers as its API does."""
        return urlsplit(resolve(self.url)).scheme

    def _unexpected(self) -> Unreachable:
        """Says no more: the answer may hold secrets."""
        return Unreachable(f"What answered is not {self.named.replace('The ', 'the ', 1)}.", self.look)

    def _ask(self, method: str, path: str, content: dict[str, Any]) -> httpx.Response:
        address = resolve(self.url).rstrip("/") + path
        token = self._read_token()
        headers = {self._header: self.sent_as.partition(": ")[2].format(token).encode()} if token else {}
        longest = LONGEST_SECONDS if method == "GET" else LONGEST_FOR_A_CHANGE_SECONDS
        try:
            return ask_when_allowed(
                lambda: bounded_call(method, address, self.seconds, MOST_BYTES, headers=headers, **content),
                longest,
                read_wait=self.read_wait,
            )
        except TimeoutError:
            raise Unreachable(f"{self.named} did not answer within {self.seconds:g} s.", self.look) from None
        except TooLong:
            raise Unreachable(f"{self.named} answers with more than {MOST_BYTES} bytes.", self.look) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(f"{self.named} cannot be reached ({type(error).__name__}).", self.look) from None

    def _read_token(self) -> str | None:
        if isinstance(self.token, str):
            return resolve(self.token)
        return self.token.read() if self.token else None

    def _reason(self, answer: httpx.Response, private: Iterable[str]) -> str:
        try:
            return self.quoted(self.read_reason(answer.json()), answer, private)
        except _NOT_OF_THAT_SHAPE:
            return f"status {answer.status_code}"

    def quoted(self, told: object, answer: httpx.Response, private: Iterable[str] = ()) -> str:
        """A vendor's words, as a message may say them."""
        words = str(told)
        sent = answer.request.headers.get(self._header, "").rpartition(" ")[2]
        for secret in sorted([sent, *private], key=len, reverse=True):
            if len(secret) >= _LEAST_SECRET:
                words = words.replace(secret, "…")
        return words[:_SEVERAL_LINES].strip().rstrip(".")

    def _hint(self, answer: httpx.Response) -> str:
        if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return self.unauthorized
        return "It changed nothing."

    def number_of(self, answer: httpx.Response) -> str:
        """The vendor's own number of the call in words; empty where it said none."""
        number = answer.headers.get(self.request_id, "") if self.request_id else ""
        return f" (its number of the call: {self.quoted(number, answer)[:100]})" if number else ""

    @property
    def _header(self) -> str:
        return self.sent_as.partition(": ")[0]
