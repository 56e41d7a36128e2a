"""One object on its way into a bucket: a single request when it is small, else parts, a few at a time."""

import base64
import hashlib
import uuid
import zlib
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from blocks.errors import AlreadyStored, BackstopError, NotStored, RefusedByStore
from blocks.stores.s3_connection import ConditionFailed, Connection, NotKnownToServer

Checksums = Literal["sha256", "crc32", "none"]
MOST_PARTS = 10_000
_WRITE = "backstop-write"
"""Metadata that tells this write from another one: the answer to a write that succeeded can be lost."""


@dataclass
class Upload:
    """Parts are equal in size but for the last one, which some stores demand."""

    connection: Connection
    key: str
    part_bytes: int
    checksums: Checksums
    options: dict[str, Any]
    """Encryption, for the request that begins the object."""
    only_if_absent: bool
    _id: str = ""
    _begun: str = field(default_factory=lambda: uuid.uuid4().hex)
    _buffer: bytearray = field(default_factory=bytearray)
    _parts: list[Future[dict[str, Any]]] = field(default_factory=list)
    _given_up: bool = False

    def write(self, chunk: bytes) -> int:
        rest = memoryview(chunk)
        while rest:
            if len(self._buffer) == self.part_bytes:
                self._send_part()
            room = self.part_bytes - len(self._buffer)
            self._buffer += rest[:room]
            rest = rest[room:]
        return len(chunk)

    def finish(self) -> None:
        """Make the object visible, whole. Raises AlreadyStored."""
        if self._id:
            self._send_part()
            commit, arguments = "complete_multipart_upload", self._completion()
        else:
            commit, arguments = "put_object", self._whole()
        try:
            self._commit(commit, arguments)
        except (ConditionFailed, NotStored):
            if not self._is_stored():
                raise self._explain() from None

    def give_up(self) -> None:
        """Wait for the parts under way, as one that arrived later would stay; then remove them all."""
        self._given_up = True
        for part in self._parts:
            part.cancel()
        wait(self._parts)
        if self._id:
            with suppress(BackstopError):  # `abort_unfinished` comes by; the first error is the one to tell
                self.connection.call("abort_multipart_upload", Key=self.key, UploadId=self._id)

    def _send_part(self) -> None:
        """The buffer is given away: no copy of it is made."""
        for sent in self._parts:
            if sent.done():
                sent.result()
        if len(self._parts) == MOST_PARTS:
            raise RefusedByStore(
                f"The object has more than {MOST_PARTS:,} parts of {self.part_bytes:,} bytes.", "Raise `part_bytes`."
            )
        if not self._id:
            self._id = self.connection.call("create_multipart_upload", Key=self.key, **self._beginning())["UploadId"]
        number, content, self._buffer = len(self._parts) + 1, self._buffer, bytearray()
        self._parts.append(self.connection.in_background(lambda: self._send(number, content)))

    def _send(self, number: int, content: bytearray) -> dict[str, Any]:
        if self._given_up:
            return {}
        digest = _digest(self.checksums, content)
        place = {"Key": self.key, "UploadId": self._id, "PartNumber": number}
        try:
            answer = self.connection.call("upload_part", Body=content, **place, **digest)
        except NotStored:
            raise self._explain() from None
        return {"PartNumber": number, "ETag": answer["ETag"], **digest}

    def _beginning(self) -> dict[str, Any]:
        algorithm = {} if self.checksums == "none" else {"ChecksumAlgorithm": self.checksums.upper()}
        return {"Metadata": {_WRITE: self._begun}, **algorithm, **self.options}

    def _completion(self) -> dict[str, Any]:
        parts = [part.result() for part in self._parts]
        return {"UploadId": self._id, "MultipartUpload": {"Parts": parts}}

    def _whole(self) -> dict[str, Any]:
        digest = _digest(self.checksums, self._buffer)
        return {"Body": self._buffer, **digest, **self._beginning()}

    def _commit(self, operation: str, arguments: dict[str, Any]) -> None:
        if not self.only_if_absent:
            self.connection.call(operation, Key=self.key, **arguments)
            return
        try:
            self.connection.call(operation, Key=self.key, IfNoneMatch="*", **arguments)
        except NotKnownToServer:
            if exists(self.connection, self.key):
                raise _already(self.key) from None
            self.connection.call(operation, Key=self.key, **arguments)

    def _is_stored(self) -> bool:
        """Whether this very write was carried out, and only the answer was lost."""
        try:
            known = self.connection.call("head_object", Key=self.key)
        except NotStored:
            return False
        return bool(known.get("Metadata", {}).get(_WRITE) == self._begun)

    def _explain(self) -> RefusedByStore:
        if self.only_if_absent and exists(self.connection, self.key):
            return _already(self.key)
        return RefusedByStore(f"The upload of {self.key} was ended by somebody else.", "Nothing was stored. Try again.")


def exists(connection: Connection, key: str) -> bool:
    try:
        connection.call("head_object", Key=key)
    except NotStored:
        return False
    return True


def _digest(checksums: Checksums, content: bytearray) -> dict[str, str]:
    """The store compares it with what arrived. Given as a header: trailers are not known everywhere."""
    if checksums == "sha256":
        return {"ChecksumSHA256": base64.b64encode(hashlib.sha256(content).digest()).decode()}
    if checksums == "crc32":
        return {"ChecksumCRC32": base64.b64encode(zlib.crc32(content).to_bytes(4)).decode()}
    return {}


def _already(key: str) -> AlreadyStored:
    return AlreadyStored(f"{key} is stored already.", "It was left as it is.")
