"""Two independent S3 servers. Neither checks everything: Swift is strict about requests, moto knows more of them."""

import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from blocks.stores.s3 import S3Store
from tests.deployments.shop.processes import free_port, process, wait_until

SMALLEST_PART = 5 * 1024 * 1024


@dataclass(frozen=True)
class S3Server:
    endpoint: str
    access_key: str
    secret_key: str

    def client(self) -> Any:
        """To look from outside of what is tested."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, read_timeout=10),
        )

    def make_bucket(self, versioned: bool = False, locked: bool = False) -> str:
        """Its name. A locked one keeps versions, too."""
        name, client = f"backups-{secrets.token_hex(4)}", self.client()
        client.create_bucket(Bucket=name, **({"ObjectLockEnabledForBucket": True} if locked else {}))
        if versioned:
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    def secrets(self) -> dict[str, str]:
        """For the environment of whoever uses `store`."""
        return {"S3_ACCESS_KEY": self.access_key, "S3_SECRET_KEY": self.secret_key}

    def store(self, bucket: str, **fields: Any) -> S3Store:
        return S3Store(
            bucket=bucket,
            access_key="${S3_ACCESS_KEY}",
            secret_key="${S3_SECRET_KEY}",
            path_style=True,
            **{"endpoint": self.endpoint, "part_bytes": SMALLEST_PART, "timeout": 20} | fields,
        )


@contextmanager
def running_moto(folder: Path) -> Iterator[S3Server]:
    """Keeps everything in memory. Takes any key."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    server = S3Server(f"http://127.0.0.1:{port}", secrets.token_hex(10), secrets.token_hex(20))
    with process(command, folder, {"HOME": str(folder)}) as started:
        wait_until(lambda: _answers(server, started, folder), "moto answers")
        yield server


@contextmanager
def running_swift(folder: Path) -> Iterator[S3Server]:
    """Keeps everything below the folder until it ends; the file system there needs extended attributes."""
    access_key, secret_key = f"backups:{secrets.token_hex(4)}", secrets.token_hex(20)
    command = [sys.executable, "-P", "-W", "ignore", str(Path(__file__).with_name("swift_server.py"))]
    port = folder / "port"
    with (
        tempfile.TemporaryDirectory(dir=folder) as kept,
        process([*command, str(folder), kept, access_key], folder, {"SECRET_KEY": secret_key}) as started,
    ):

        def serves() -> bool:
            assert started.poll() is None, (folder / "output.log").read_text()
            return port.exists()

        wait_until(serves, "Swift serves")
        yield S3Server(f"http://127.0.0.1:{port.read_text()}", access_key, secret_key)


def _answers(server: S3Server, started: Any, folder: Path) -> bool:
    from botocore.exceptions import EndpointConnectionError

    assert started.poll() is None, (folder / "output.log").read_text()
    try:
        server.client().list_buckets()
    except EndpointConnectionError:
        return False
    return True
