"""A vendor's published description of its API: what is sent and what is answered is held against it.

The descriptions lie beside the checkout and are no part of it.
"""

import functools
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest
from openapi_core import OpenAPI
from openapi_core.testing import MockRequest, MockResponse

from deployments.apply import ROOT

FOLDER = ROOT.parent / "shared" / "specs"


class Sent(NamedTuple):
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    content: bytes


class Description:
    def __init__(self, name: str, complete: Callable[[dict[str, Any]], None] | None = None) -> None:
        """`complete` adds what it leaves out."""
        path = FOLDER / f"{name}.json"
        if not path.exists():
            pytest.skip(f"no description of {name} beside the checkout, at ../shared/specs/{name}.json")
        content = json.loads(path.read_text(), object_hook=_with_overlaps)
        if complete:
            complete(content)
        self._server = content["servers"][0]["url"]
        self._api = OpenAPI.from_dict(content)

    def check(self, sent: Sent, status: int, answered: bytes) -> None:
        """Raises OpenAPIError where it does not allow the request, or not this answer to it."""
        request = MockRequest(
            self._server,
            sent.method.lower(),
            sent.path,
            args=dict(sent.query),
            headers=dict(sent.headers),
            data=sent.content or None,
        )
        self._api.validate_request(request)
        self._api.validate_response(request, MockResponse(answered, status))


def _with_overlaps(described: dict[str, Any]) -> dict[str, Any]:
    """The alternatives of a vendor's oneOf overlap: what it really answers is often two of them at once."""
    return {"anyOf" if name == "oneOf" else name: content for name, content in described.items()}


@functools.cache
def described(name: str, complete: Callable[[dict[str, Any]], None] | None = None) -> Description:
    """Kept: reading one takes some seconds."""
    return Description(name, complete)
