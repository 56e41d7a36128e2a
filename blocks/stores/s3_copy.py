"""An object copied onto itself, which is how S3 changes its storage class."""

from contextlib import suppress
from typing import Any

from blocks.errors import BackstopError, RefusedByStore
from blocks.stores.s3_connection import ConditionFailed, Connection

LARGEST_COPY = 5 * 1024**3
"""Bytes that one request may copy; more go in parts of COPIED_PART."""
COPIED_PART = 1024**3


def change_class(connection: Connection, key: str, storage_class: str, encryption: dict[str, Any]) -> None:
    """The old content stays readable until the copy is whole."""
    known = connection.call("head_object", Key=key)
    target = {"Key": key, "StorageClass": storage_class, **encryption}
    source = {"CopySource": {"Bucket": connection.bucket, "Key": key}, "CopySourceIfMatch": known["ETag"]}
    try:
        if known["ContentLength"] <= LARGEST_COPY:
            connection.call("copy_object", MetadataDirective="COPY", **target, **source)
        else:
            _copy_in_parts(connection, {**target, "Metadata": known["Metadata"]}, source, known["ContentLength"])
    except ConditionFailed:
        raise RefusedByStore(f"{key} was replaced while it was moved.", "Try again.") from None


def _copy_in_parts(connection: Connection, target: dict[str, Any], source: dict[str, Any], size: int) -> None:
    upload = {"Key": target["Key"], "UploadId": connection.call("create_multipart_upload", **target)["UploadId"]}
    try:
        parts = []
        for number, start in enumerate(range(0, size, COPIED_PART), 1):
            span = f"bytes={start}-{min(start + COPIED_PART, size) - 1}"
            copied = connection.call("upload_part_copy", PartNumber=number, CopySourceRange=span, **upload, **source)
            parts.append({"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]})
        connection.call("complete_multipart_upload", MultipartUpload={"Parts": parts}, **upload)
    except BaseException:
        with suppress(BackstopError):  # `abort_unfinished` comes by; the first error is the one to tell
            connection.call("abort_multipart_upload", **upload)
        raise
