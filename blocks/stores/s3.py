"""Backups in a bucket: AWS, or whoever else speaks S3."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field

from blocks.errors import AlreadyStored, NotStored, RefusedByStore
from blocks.reference import Address, Secret, resolve
from blocks.stores.interface import Store, StoredObject, Writer
from blocks.stores.names import check_name, check_prefix, is_name
from blocks.stores.s3_connection import Connection, Settings, connect
from blocks.stores.s3_copy import change_class
from blocks.stores.s3_download import download
from blocks.stores.s3_upload import Checksums, Upload, exists

_MEBIBYTE = 1024 * 1024


class S3Store(Store):
    """Backups in a bucket that exists.

    One try waits `timeout` seconds for a sign of life; there are four, with up to 7 s between
    them. Memory: one part for each open writer, and `parallel_parts` for all of them together.

    `only_if_absent` is as strong as the server's If-None-Match: AWS lets one of two requests that
    overlap win; Swift and moto look, then write, and were seen to let both pass. Where the server
    answers that it does not know the condition, existence is checked just before.

    A bucket with versions keeps what was deleted or replaced as an older version; only its
    lifecycle rules remove that for good. An exception while the store cannot be reached
    leaves parts behind that no listing shows: `abort_unfinished`, or a lifecycle rule.
    """

    _block_type_name = "S3 store"
    _block_type_slug = "s3-store"
    _description = "Backups in a bucket: AWS, or whoever else speaks S3."

    bucket: str = Field(description="Name of the bucket, which exists; may be a reference.")
    prefix: str = Field(
        "", description="Folder inside the bucket that is this store's own, without a slash at its end."
    )
    endpoint: Address | None = Field(None, description="Address of the S3 interface; empty for AWS itself.")
    region: str = Field("us-east-1", description="Region of the bucket; some vendors want `auto`.")
    access_key: Secret = Field(description="Reference to the access key: ${NAME} or file:/PATH.")
    secret_key: Secret = Field(description="Reference to the secret key: ${NAME} or file:/PATH.")
    path_style: bool = Field(False, description="The bucket stands in the path, not in the host name.")
    encryption: Literal["", "AES256", "aws:kms"] = Field("", description="Encryption by the store; empty: its default.")
    kms_id: str = Field("", description="Which key of the vendor's key service encrypts; only with aws:kms.")
    cold_class: str = Field(
        "", description="Cheaper storage class that is still read at once (GLACIER_IR, STANDARD_IA); empty: none."
    )
    checksums: Checksums = Field("sha256", description="What the store compares with what arrived, a part at a time.")
    timeout: float = Field(30, gt=0, description="Seconds that one try may be without a sign of life.")
    part_bytes: int = Field(
        8 * _MEBIBYTE, ge=5 * _MEBIBYTE, le=512 * _MEBIBYTE, description="Size of a part; 10,000 parts are the most."
    )
    parallel_parts: int = Field(4, ge=1, le=32, description="Parts under way at a time, of all writers together.")

    @contextmanager
    def writing(self, name: str, only_if_absent: bool = False) -> Iterator[Writer]:
        key, connection = self._key(name), self._connection()
        if only_if_absent and exists(connection, key):
            raise AlreadyStored(f"{name} is stored already.", "It was left as it is.")
        upload = Upload(connection, key, self.part_bytes, self.checksums, self._encryption(), only_if_absent)
        try:
            yield upload
            upload.finish()
        except BaseException:
            upload.give_up()
            raise

    def reading(self, name: str) -> Iterator[bytes]:
        return download(self._connection(), self._key(name))

    def read_objects(self, prefix: str = "") -> Iterator[StoredObject]:
        for page in self._connection().pages("list_objects_v2", Prefix=self._folder() + check_prefix(prefix)):
            found = (self._stored(entry) for entry in page.get("Contents", ()))
            yield from (stored for stored in found if is_name(stored.name))

    def read_object(self, name: str) -> StoredObject | None:
        """Listed, not asked for: only a listing tells a missing object from a missing bucket."""
        key = self._key(name)
        first = self._connection().call("list_objects_v2", Prefix=key, MaxKeys=1).get("Contents", ())
        return next((self._stored(entry) for entry in first if entry["Key"] == key), None)

    def read_hold(self, name: str) -> str:
        """Empty for what is not stored, and where the key may not read holds (s3:GetObjectLegalHold, -Retention)."""
        try:
            known = self._connection().call("head_object", Key=self._key(name))
        except NotStored:
            return ""
        until = known.get("ObjectLockRetainUntilDate")
        if known.get("ObjectLockLegalHoldStatus") == "ON":
            return "legal hold"
        if until and until > datetime.now(UTC):
            return f"retention ({known.get('ObjectLockMode', 'unknown').lower()}) until {until:%Y-%m-%d %H:%M} UTC"
        return ""

    def delete_object(self, name: str) -> None:
        self._refuse_held(name)
        try:
            self._connection().call("delete_object", Key=self._key(name))
        except NotStored:
            return

    def move_to_cold(self, name: str) -> bool:
        """A copy onto itself. Refused for an object that is held: the copy would not be."""
        if not (stored := self.read_object(name)):
            raise NotStored(f"{name} is not stored.", "Look at what is: the name may be wrong, or it was deleted.")
        if self.cold_class and not stored.cold:
            self._refuse_held(name)
            change_class(self._connection(), self._key(name), self.cold_class, self._encryption())
        return bool(self.cold_class)

    def read_free_bytes(self) -> int | None:
        return None

    def abort_unfinished(self, prefix: str, begun_before: datetime) -> list[str]:
        connection, given_up = self._connection(), []
        for page in connection.pages("list_multipart_uploads", Prefix=self._folder() + check_prefix(prefix)):
            for upload in page.get("Uploads", ()):
                if upload["Initiated"] < begun_before:
                    _abort(connection, upload)
                    given_up.append(self._name(upload["Key"]))
        return sorted(given_up)

    def _refuse_held(self, name: str) -> None:
        if held := self.read_hold(name):
            raise RefusedByStore(f"{name} is held: {held}.", "It was left as it is. Have the hold lifted, or wait.")

    def _connection(self) -> Connection:
        return connect(
            Settings(
                bucket=resolve(self.bucket),
                endpoint=resolve(self.endpoint) if self.endpoint else None,
                region=resolve(self.region),
                access_key=resolve(self.access_key),
                secret_key=resolve(self.secret_key),
                path_style=self.path_style,
                timeout=self.timeout,
                parallel_parts=self.parallel_parts,
            )
        )

    def _encryption(self) -> dict[str, Any]:
        key = {"SSEKMSKeyId": self.kms_id} if self.kms_id else {}
        return {"ServerSideEncryption": self.encryption, **key} if self.encryption else {}

    def _folder(self) -> str:
        return f"{check_name(self.prefix)}/" if self.prefix else ""

    def _key(self, name: str) -> str:
        return self._folder() + check_name(name)

    def _name(self, key: str) -> str:
        return key.removeprefix(self._folder())

    def _stored(self, entry: dict[str, Any]) -> StoredObject:
        return StoredObject(
            name=self._name(entry["Key"]),
            size=entry["Size"],
            modified_at=entry["LastModified"],
            cold=bool(self.cold_class) and entry.get("StorageClass") == self.cold_class,
        )


def _abort(connection: Connection, upload: dict[str, Any]) -> None:
    try:
        connection.call("abort_multipart_upload", Key=upload["Key"], UploadId=upload["UploadId"])
    except NotStored:
        return
