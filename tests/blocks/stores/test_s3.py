"""The S3 store against two servers: the contract, and what only buckets have."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from blocks.errors import RefusedByStore, Unreachable
from blocks.stores import s3_copy
from blocks.stores.s3 import S3Store
from blocks.stores.s3_connection import Settings, connect
from tests.blocks.stores.conftest import give_keys
from tests.blocks.stores.contract import LARGE, StoreContract, content_of, get, names, put
from tests.blocks.stores.servers import S3Server

GROWTH_MEBIBYTES = 80
STREAMED_MEBIBYTES = 300


class TestSwift(StoreContract):
    one_at_a_time = False

    @pytest.fixture
    def store(self, swift: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Store:
        give_keys(swift, monkeypatch)
        return swift.store(swift.make_bucket(), prefix="shop/production")


class TestMoto(StoreContract):
    tells_when_begun = one_at_a_time = False

    @pytest.fixture
    def store(self, moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Store:
        give_keys(moto, monkeypatch)
        return moto.store(moto.make_bucket(), checksums="crc32")


class TestMotoVersioned(StoreContract):
    tells_when_begun = one_at_a_time = False

    @pytest.fixture
    def store(self, moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Store:
        give_keys(moto, monkeypatch)
        return moto.store(moto.make_bucket(locked=True), prefix="shop", encryption="AES256", checksums="none")


@pytest.fixture
def moto_keys(moto: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    give_keys(moto, monkeypatch)
    return moto


@pytest.fixture
def swift_keys(swift: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    give_keys(swift, monkeypatch)
    return swift


def test_stores_of_one_bucket_do_not_see_each_other(swift_keys: S3Server) -> None:
    bucket = swift_keys.make_bucket()
    one, other = swift_keys.store(bucket, prefix="one"), swift_keys.store(bucket, prefix="one2")
    put(one, "name", b"x")
    assert names(other) == []
    assert names(swift_keys.store(bucket)) == ["one/name"]


def test_more_objects_than_one_listing_holds(moto_keys: S3Server) -> None:
    bucket, client = moto_keys.make_bucket(), moto_keys.client()
    stored = [f"{number:04}" for number in range(1003)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: client.put_object(Bucket=bucket, Key=name, Body=b"x"), stored))
    assert names(moto_keys.store(bucket)) == stored


def test_parts_are_equal_but_for_the_last(moto_keys: S3Server) -> None:
    bucket = moto_keys.make_bucket()
    store = moto_keys.store(bucket)
    put(store, "name", content_of(LARGE))
    client = moto_keys.client()
    sizes = [client.head_object(Bucket=bucket, Key="name", PartNumber=n)["ContentLength"] for n in (1, 2, 3)]
    assert sizes == [store.part_bytes, store.part_bytes, LARGE - 2 * store.part_bytes]


@pytest.mark.parametrize("size", [3, LARGE])
def test_it_is_encrypted_as_asked_for(moto_keys: S3Server, size: int) -> None:
    bucket = moto_keys.make_bucket()
    put(moto_keys.store(bucket, encryption="aws:kms", kms_id="some-key"), "name", content_of(size))
    known = moto_keys.client().head_object(Bucket=bucket, Key="name")
    assert known["ServerSideEncryption"] == "aws:kms"
    assert known["SSEKMSKeyId"] == "some-key"


@pytest.mark.parametrize("checksums", ["sha256", "crc32"])
@pytest.mark.parametrize("size", [3, LARGE])
def test_the_server_was_told_the_checksum(moto_keys: S3Server, checksums: str, size: int) -> None:
    bucket = moto_keys.make_bucket()
    put(moto_keys.store(bucket, checksums=checksums), "name", content_of(size))
    known = moto_keys.client().head_object(Bucket=bucket, Key="name", ChecksumMode="ENABLED")
    assert known.get(f"Checksum{checksums.upper()}"), known


def test_deleting_keeps_the_version(moto_keys: S3Server) -> None:
    bucket = moto_keys.make_bucket(versioned=True)
    store = moto_keys.store(bucket)
    put(store, "name", b"content")
    store.delete_object("name")
    assert names(store) == []
    versions = moto_keys.client().list_object_versions(Bucket=bucket)
    assert len(versions["Versions"]) == len(versions["DeleteMarkers"]) == 1


# Cold


@pytest.mark.parametrize("size", [3, LARGE])
def test_moving_to_cold(moto_keys: S3Server, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(s3_copy, "LARGEST_COPY", 6 * 1024**2)
    monkeypatch.setattr(s3_copy, "COPIED_PART", 5 * 1024**2)
    bucket = moto_keys.make_bucket()
    store = moto_keys.store(bucket, cold_class="GLACIER_IR")
    put(store, "name", content_of(size))
    for _ in range(2):
        assert store.move_to_cold("name") is True
        stored = store.read_object("name")
        assert stored
        assert stored.cold
        assert moto_keys.client().head_object(Bucket=bucket, Key="name")["StorageClass"] == "GLACIER_IR"
    assert get(store, "name") == content_of(size)
    assert store.abort_unfinished("", datetime.now(UTC) + timedelta(hours=1)) == []


def test_without_a_cold_class_nothing_moves(moto_keys: S3Server) -> None:
    store = moto_keys.store(moto_keys.make_bucket())
    put(store, "name", b"x")
    assert store.move_to_cold("name") is False


def test_a_storage_class_that_the_server_does_not_know(swift_keys: S3Server) -> None:
    store = swift_keys.store(swift_keys.make_bucket(), cold_class="GLACIER_IR")
    put(store, "name", b"x")
    with pytest.raises(RefusedByStore, match="InvalidStorageClass"):
        store.move_to_cold("name")
    assert get(store, "name") == b"x"


# Held


def test_what_is_held_is_not_deleted_or_moved(moto_keys: S3Server) -> None:
    bucket, client = moto_keys.make_bucket(locked=True), moto_keys.client()
    store = moto_keys.store(bucket, cold_class="GLACIER_IR")
    for name in ("free", "legal", "retained", "expired"):
        put(store, name, b"x")
    client.put_object_legal_hold(Bucket=bucket, Key="legal", LegalHold={"Status": "ON"})
    until = datetime.now(UTC) + timedelta(days=30)
    client.put_object_retention(
        Bucket=bucket, Key="retained", Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until}
    )
    assert store.read_hold("free") == ""
    assert store.read_hold("legal") == "legal hold"
    assert store.read_hold("retained").startswith(f"retention (compliance) until {until:%Y-%m-%d}")
    for name in ("legal", "retained"):
        for call in (store.delete_object, store.move_to_cold):
            with pytest.raises(RefusedByStore, match="held"):
                call(name)
    client.put_object_legal_hold(Bucket=bucket, Key="legal", LegalHold={"Status": "OFF"})
    store.delete_object("legal")
    assert names(store) == ["expired", "free", "retained"]


# What the machine has set up for others


def test_nothing_of_the_machines_aws_settings_is_used(
    swift_keys: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bucket = swift_keys.make_bucket()
    config = tmp_path / "config"
    config.write_text("[default]\nregion = mars-1\nendpoint_url = http://127.0.0.1:9\n[broken")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(config))
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    store = swift_keys.store(bucket)
    put(store, "name", b"x")
    assert get(store, "name") == b"x"


def test_without_an_endpoint_it_is_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    settings = Settings("bucket", None, "eu-central-1", "key", "secret", False, 1, 1)
    assert connect(settings)._client.meta.endpoint_url == "https://s3.eu-central-1.amazonaws.com"


def test_importing_the_store_imports_no_boto() -> None:
    program = "import sys, blocks.stores.s3; assert not {'boto3', 'botocore'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, cwd=Path(__file__).parents[3])


# Refusals


@pytest.mark.parametrize(
    "fields", [{"bucket": "no-such-bucket"}, {"secret_key": "${WRONG_KEY}"}, {"endpoint": "not an address"}]
)
def test_what_is_set_wrongly_is_refused(
    swift_keys: S3Server, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    monkeypatch.setenv("WRONG_KEY", "a-key-that-is-wrong")
    store = swift_keys.store(swift_keys.make_bucket()).model_copy(update=fields)
    for call in (
        lambda: put(store, "small", b"x"),
        lambda: put(store, "large", content_of(LARGE)),
        lambda: get(store, "name"),
        lambda: names(store),
        lambda: store.read_object("name"),
        lambda: store.delete_object("name"),
        lambda: store.abort_unfinished("", datetime.now(UTC)),
    ):
        with pytest.raises(RefusedByStore) as refused:
            call()
        assert refused.value.hint
        assert type(refused.value) is RefusedByStore
        for secret in ("a-key-that-is-wrong", swift_keys.secret_key, swift_keys.access_key):
            assert secret not in str(refused.value)


def test_nobody_listens(swift_keys: S3Server) -> None:
    store = swift_keys.store("bucket", endpoint="http://127.0.0.1:9")
    with pytest.raises(Unreachable) as unreachable:
        names(store)
    assert unreachable.value.hint


# Memory

STREAM = """
import os, resource, sys
from blocks.stores.s3 import S3Store
from blocks.stores.s3_connection import Settings, connect

store = S3Store(bucket=sys.argv[1], endpoint=sys.argv[2], path_style=True,
                access_key="${S3_ACCESS_KEY}", secret_key="${S3_SECRET_KEY}")
with store.writing("warm") as writer:
    writer.write(b"x")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
block = os.urandom(1024 * 1024)
with store.writing("large") as writer:
    for _ in range(int(sys.argv[3])):
        writer.write(block)
size = sum(len(chunk) for chunk in store.reading("large"))
assert size == int(sys.argv[3]) * len(block), size
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_is_bounded(swift_keys: S3Server) -> None:
    arguments = [swift_keys.make_bucket(), swift_keys.endpoint, str(STREAMED_MEBIBYTES)]
    streamed = subprocess.run(
        [sys.executable, "-c", STREAM, *arguments],
        check=True,
        timeout=100,
        capture_output=True,
        cwd=Path(__file__).parents[3],
    )
    assert int(streamed.stdout) / 1024 < GROWTH_MEBIBYTES
