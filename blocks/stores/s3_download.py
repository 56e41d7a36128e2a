"""One object on its way out of a bucket; a connection that was lost is taken up where it broke off."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

from blocks.errors import NotStored, RefusedByStore, Unreachable
from blocks.stores.s3_connection import TRIES, ConditionFailed, Connection

CHUNK = 1024 * 1024


def download(connection: Connection, key: str) -> Iterator[bytes]:
    """Given up after four interruptions in a row without a chunk between them."""
    answer = connection.call("get_object", Key=key)
    size, etag = int(answer["ContentLength"]), answer["ETag"]
    position = interruptions = 0
    while True:
        for chunk in _until_interrupted(answer["Body"]):
            yield chunk
            position += len(chunk)
            interruptions = 0
        if position == size:
            return
        interruptions += 1
        if interruptions == TRIES:
            raise Unreachable(
                f"The download of {key} broke off {TRIES} times at byte {position:,} of {size:,}.",
                "Look at the store and the network, then try again.",
            )
        answer = _resume(connection, key, etag, position)


def _until_interrupted(body: Any) -> Iterator[bytes]:
    from botocore.exceptions import BotoCoreError

    with closing(body):
        try:
            while chunk := body.read(CHUNK):
                yield chunk
        except BotoCoreError:  # timeout, reset, or an end before the announced length
            return


def _resume(connection: Connection, key: str, etag: str, position: int) -> dict[str, Any]:
    try:
        answer = connection.call("get_object", Key=key, IfMatch=etag, Range=f"bytes={position}-")
    except (ConditionFailed, NotStored):
        raise RefusedByStore(
            f"{key} was replaced or deleted while it was read.", "Read it from the beginning."
        ) from None
    if not answer.get("ContentRange", "").startswith(f"bytes {position}-"):
        raise Unreachable(f"The store cannot send {key} from byte {position:,}.", "Read it from the beginning.")
    return answer
