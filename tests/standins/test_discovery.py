"""What Google's descriptions do not allow is found, or the stand-ins would prove nothing."""

import json
from typing import Any

import pytest

from tests.standins.description import Sent
from tests.standins.discovery import NotDescribed, discovered

SERVICE = "/v2/projects/shop-project/locations/europe-west1/services/shop"
OPERATION = {"name": "projects/shop-project/locations/europe-west1/operations/one", "done": False}


def check(
    method: str, path: str, sent: Any = None, answered: Any = OPERATION, query: dict[str, str] | None = None
) -> None:
    content = b"" if sent is None else json.dumps(sent).encode()
    asked = Sent(method, path, query or {}, {}, content)
    discovered("google-run-v2").check(asked, 200, json.dumps(answered).encode())


@pytest.mark.parametrize(
    "sent",
    [
        {"traffic": []},
        {"template": {"annotations": {"a/b": "c"}, "containers": [{"env": [{"name": "A", "value": ""}]}]}},
        {"generation": "1", "createTime": "2026-11-22T10:00:00.123456Z", "template": {"timeout": "300s"}},
        {"traffic": [{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", "revision": "shop-1", "percent": 10}]},
    ],
)
def test_what_is_described_is_allowed(sent: Any) -> None:
    check("PATCH", SERVICE, sent, query={"updateMask": "traffic,template.containers", "validateOnly": "true"})


@pytest.mark.parametrize(
    "sent",
    [
        {"trafic": []},
        {"traffic": [{"percent": "10"}]},
        {"traffic": [{"percent": 2**31}]},
        {"traffic": [{"type": "REVISION"}]},
        {"generation": 1},
        {"createTime": "today"},
        {"template": {"timeout": "300"}},
        {"template": {"annotations": {"a/b": 1}}},
        {"template": {"containers": [{"env": {"A": "B"}}]}},
    ],
)
def test_a_body_that_is_not_is_found(sent: Any) -> None:
    with pytest.raises(NotDescribed, match="request of run"):
        check("PATCH", SERVICE, sent)


@pytest.mark.parametrize("query", [{"updateMasks": "traffic"}, {"validateOnly": "yes"}, {"updateMask": "a b"}])
def test_a_parameter_that_is_not_is_found(query: dict[str, str]) -> None:
    with pytest.raises(NotDescribed):
        check("PATCH", SERVICE, {}, query=query)


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("PUT", SERVICE, {}),
        ("PATCH", SERVICE.replace("/locations/europe-west1", ""), {}),
        ("PATCH", SERVICE, None),
        ("GET", f"/v2/{OPERATION['name']}", {}),
    ],
)
def test_a_call_that_is_not_is_found(method: str, path: str, sent: Any) -> None:
    with pytest.raises((NotDescribed, ValueError)):
        check(method, path, sent)


def test_an_answer_that_is_not_is_found() -> None:
    with pytest.raises(NotDescribed, match="answer of run"):
        check("PATCH", SERVICE, {}, {**OPERATION, "finished": True})


def test_a_refusal_is_of_googles_shape() -> None:
    sent = Sent("GET", SERVICE, {}, {}, b"")
    refusal = {"error": {"code": 404, "message": "there is none", "status": "NOT_FOUND"}}
    discovered("google-run-v2").check(sent, 404, json.dumps(refusal).encode())
    with pytest.raises(NotDescribed):
        discovered("google-run-v2").check(sent, 404, b'{"error": "there is none"}')
