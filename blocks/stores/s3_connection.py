"""One connection to a bucket, and what its errors mean. boto3 is imported by the first one: that takes 0.3 s."""

import functools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import BoundedSemaphore
from typing import Any

from blocks.errors import BackstopError, NotStored, RefusedByStore, Unreachable

TRIES = 4
_LONGEST_CONNECT = 10
_ABSENT = {"NoSuchKey", "NoSuchUpload", "NotFound", "404"}
_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict", "412"}
_UNKNOWN = {"NotImplemented", "MethodNotAllowed", "501", "405"}
_OVERLOADED = {"SlowDown", "ThrottlingException", "TooManyRequests", "RequestLimitExceeded", "RequestTimeout"}
_HINTS = {
    "NoSuchBucket": "Make the bucket, or correct its name.",
    "InvalidAccessKeyId": "Look whether the references of the keys lead to the right ones.",
    "SignatureDoesNotMatch": "Look whether the references of the keys lead to the right ones.",
    "AccessDenied": "Look what the key may do with this bucket, and whether the object is held.",
    "403": "Look what the key may do with this bucket.",
    "BadDigest": "What arrived was not what was sent; try again, then look at what is between here and the store.",
    "RequestTimeTooSkewed": "Set this machine's clock.",
    "InvalidObjectState": "It lies in an archive: have the store bring it back first.",
    "QuotaExceeded": "The store is full: make room.",
    "InsufficientStorage": "The store is full: make room.",
    "InvalidStorageClass": "The store has no such storage class: correct `cold_class`.",
}


class ConditionFailed(RefusedByStore):
    """A condition of the request did not hold. Never leaves the S3 store."""


class NotKnownToServer(RefusedByStore):
    """The server does not know the operation, or its condition. Never leaves the S3 store."""


@dataclass(frozen=True)
class Settings:
    bucket: str
    endpoint: str | None
    region: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    path_style: bool
    timeout: float
    parallel_parts: int


class Connection:
    """Thread-safe. All writers of a bucket share its few threads, so that their memory is bounded together."""

    def __init__(self, settings: Settings) -> None:
        self.bucket = settings.bucket
        self._client = _make_client(settings)
        self._free = BoundedSemaphore(settings.parallel_parts)
        self._threads = ThreadPoolExecutor(settings.parallel_parts, thread_name_prefix="s3-part")

    def call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Repeated up to four times where that may help. Raises the errors of blocks/errors.py only."""
        with self._translated(operation):
            answer: dict[str, Any] = getattr(self._client, operation)(Bucket=self.bucket, **arguments)
        return answer

    def pages(self, operation: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        with self._translated(operation):
            yield from self._client.get_paginator(operation).paginate(Bucket=self.bucket, **arguments)

    def in_background(self, send: Callable[[], Any]) -> Future[Any]:
        """Blocks while all threads are busy."""
        self._free.acquire()
        try:
            future = self._threads.submit(send)
        except BaseException:
            self._free.release()
            raise
        future.add_done_callback(lambda _: self._free.release())
        return future

    @contextmanager
    def _translated(self, operation: str) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            raise translate_answer(error.response, operation, self.bucket) from None
        except (BotoCoreError, ValueError) as error:
            raise translate_silence(error, operation, self.bucket) from None


@functools.lru_cache(maxsize=16)
def connect(settings: Settings) -> Connection:
    """Kept: to make one takes longer than a request."""
    return Connection(settings)


def translate_answer(response: dict[str, Any], operation: str, bucket: str) -> BackstopError:
    """Of an answer that is an error; it quotes the code alone, as some servers' messages quote the request."""
    code = str(response.get("Error", {}).get("Code", ""))[:80]
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    said = f"{operation} on bucket {bucket}: {code or status}"
    if code in _UNKNOWN or status == 501:
        return NotKnownToServer(f"The store does not know {said}.", "Another kind of store is needed for that.")
    if status >= 500 or status == 429 or code in _OVERLOADED:
        return Unreachable(f"The store failed at {said}, {TRIES} times.", "Look how the store is, then try again.")
    if code in _TAKEN:
        return ConditionFailed(f"The store refused {said}.", "Something changed meanwhile.")
    if code in _ABSENT:
        return NotStored(f"The store has no such object ({said}).", "Look at what is stored.")
    return RefusedByStore(f"The store refused {said}.", _HINTS.get(code, "Look at the store's settings."))


def translate_silence(error: Exception, operation: str, bucket: str) -> BackstopError:
    """Of no answer. The error itself may quote the request, its name does not."""
    from botocore.exceptions import ParamValidationError

    name = type(error).__name__
    if isinstance(error, ParamValidationError | ValueError):
        return RefusedByStore(
            f"{operation} on bucket {bucket} cannot be asked ({name}).", "Correct the store's fields."
        )
    return Unreachable(
        f"The store does not answer {operation} on bucket {bucket} ({name}).",
        "Look whether its endpoint is right and reachable from here.",
    )


def _make_client(settings: Settings) -> Any:
    """Nothing of the machine's own settings for AWS plays a part: no profile, endpoint, proxy or metadata service."""
    import boto3
    import botocore.session
    from botocore.config import Config

    alone = botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
    try:
        return boto3.session.Session(botocore_session=alone).client(
            "s3",
            region_name=settings.region,
            endpoint_url=settings.endpoint,
            aws_access_key_id=settings.access_key,
            aws_secret_access_key=settings.secret_key,
            config=_configuration(settings, Config),
        )
    except ValueError as error:
        raise translate_silence(error, "connect", settings.bucket) from None


def _configuration(settings: Settings, config: Any) -> Any:
    """Checksums only where we ask for them: not every server knows the newer ones."""
    return config(
        signature_version="s3v4",
        connect_timeout=min(settings.timeout, _LONGEST_CONNECT),
        read_timeout=settings.timeout,
        retries={"mode": "standard", "total_max_attempts": TRIES},
        s3={"addressing_style": "path" if settings.path_style else "auto"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        max_pool_connections=settings.parallel_parts + 6,
        proxies={},  # not those of the process either
        ignore_configured_endpoint_urls=True,
        tcp_keepalive=True,
    )
