"""Staging's database with a bucket for its backups, and something in it that takes an upload of several parts."""

import os
from pathlib import Path

import yaml

from deployments.apply import ROOT
from tests.blocks.stores.servers import SMALLEST_PART
from tests.flows.shop_database import NAME, ShopDatabase

ENVIRONMENT = "shop-bucket"
BALLAST_MEBIBYTES = 16
TIMEOUT = 4


def write_environment(folder: Path, bucket: str) -> Path:
    """Staging, but for its name and its store, which is reached as the variables S3_… say."""
    staging = yaml.safe_load((ROOT / "deployments" / "environments" / "shop-staging.yaml").read_text())
    store = {
        "type": "s3",
        "bucket": bucket,
        "endpoint": "${S3_ENDPOINT}",
        "access_key": "${S3_ACCESS_KEY}",
        "secret_key": "${S3_SECRET_KEY}",
        "path_style": True,
        "part_bytes": SMALLEST_PART,
        "timeout": TIMEOUT,
    }
    path = folder / f"{ENVIRONMENT}.yaml"
    path.write_text(yaml.safe_dump(staging | {"environment": ENVIRONMENT, "store": store}))
    return path


def take_ballast(shop: ShopDatabase) -> None:
    """A table that no compression makes smaller."""
    shop.ask(f"SET ROLE {NAME}; CREATE TABLE ballast (content bytea)")
    with shop.connect() as connection, connection.cursor().copy("COPY ballast FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["bytea"])
        for _ in range(BALLAST_MEBIBYTES):
            copy.write_row([os.urandom(1 << 20)])


def drop_ballast(shop: ShopDatabase) -> None:
    with shop.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS ballast")
