"""How a pull ends that goes wrong underway, at something that answers as an engine does: no engine is needed."""

import json
from collections.abc import Iterator

import pytest

from blocks.errors import BackstopError, RefusedByPlatform, Unreachable
from blocks.platforms.docker_engine import engine_at
from blocks.platforms.docker_images import Images
from tests.tasks.small_service import Handler, Respond, SmallService, hang, status

STEP = json.dumps({"status": "Downloading"}).encode() + b"\r\n"


@pytest.fixture
def service() -> Iterator[SmallService]:
    with SmallService({"GET /version": status(200, {"ApiVersion": "1.41"})}) as service:
        service.answers["GET /v1.41/images/shop:v1/json"] = status(404, {"message": "No such image: shop:v1"})
        yield service


def streamed(*parts: bytes, whole: bool = True) -> Respond:
    """In chunks, and the last one perhaps never."""

    def respond(handler: Handler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for part in parts:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        if whole:
            handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True

    return respond


def ever_the_same(handler: Handler) -> None:
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while not handler.service.ending.wait(0.05):
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(STEP), STEP))


def begun_and_silent(handler: Handler) -> None:
    streamed(STEP, whole=False)(handler)
    hang(handler)


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        (
            streamed(STEP, b'{"error": "manifest unknown"}\r\n'),
            RefusedByPlatform,
            "could not be pulled: manifest unknown",
        ),
        (streamed(STEP, whole=False), Unreachable, "cannot be reached"),
        (streamed(STEP, b'{"status": "Down'), Unreachable, "cannot be reached"),
        (streamed(b"<html>"), Unreachable, "cannot be reached"),
        (begun_and_silent, Unreachable, "did not answer within"),
        (ever_the_same, Unreachable, "could not be pulled within 0.5 s"),
        (status(500, {"message": "no space left"}), Unreachable, "failed: no space left"),
    ],
)
def test_a_pull_that_goes_wrong_underway_is_told(
    service: SmallService, answer: Respond, error: type[BackstopError], told: str
) -> None:
    service.answers["POST /v1.41/images/create"] = answer
    engine = service.url.replace("http", "tcp")
    images = Images(engine, "shop", pull=True, build_from="", dockerfile="", seconds=0.5)
    with pytest.raises(error, match=told), engine_at(engine, 5) as client:
        images.require(client, "v1", "c" * 40)
