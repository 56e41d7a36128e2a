"""What is done with backups beside making and restoring them, as practices: pruning, importing, drilling a disaster."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml

from blocks.postgres.connection import libpq_environment
from blocks.postgres.programs import find_programs_for
from deployments.apply import ROOT
from tests.drills.outcome import Practice
from tests.flows.shop_database import ENVIRONMENT as STAGING
from tests.flows.shop_database import ShopDatabase
from tests.running_stack import RunningStack

ENVIRONMENT = "shop-struck"
DUMP = "nightly.dump"
LEFT_OVER = "20260101T000000Z-0123abcd"
"""Of a backup that nobody can still be making."""
_STAGING_FILE = ROOT / "deployments" / "environments" / f"{STAGING}.yaml"


def prepare_environment(stack: RunningStack, folder: Path) -> None:
    """Staging with a store of its own, in which there is a backup, in another region; and a folder with a dump."""
    for name in ("store", "imports"):
        (folder / name).mkdir()
    staging = yaml.safe_load(_STAGING_FILE.read_text())
    store = {"type": "directory", "folder": f"{folder}/store"}
    parts = {
        "environment": ENVIRONMENT,
        "store": store,
        "region_copy": store,
        "backups": {**staging["backups"], "import_folder": f"{folder}/imports"},
    }
    path = folder / f"{ENVIRONMENT}.yaml"
    path.write_text(yaml.safe_dump({**staging, **parts}))
    stack.run("apply", str(path))
    _write_dump(stack, folder / "imports" / DUMP)
    _back_up(stack, ENVIRONMENT)


def import_dump(folder: Path) -> Practice:
    before: list[set[Path]] = []

    def prepare() -> object:
        before[:] = [look()]
        return before[0]

    def look() -> set[Path]:
        return set((folder / "store").glob("*/*/manifest.json"))

    name = "import-dump"
    return Practice(name, name, ENVIRONMENT, {"file": DUMP}, prepare, look, lambda: len(look() - before[0]) == 1)


def dr_drill(shop: ShopDatabase, folder: Path, scenario: str) -> Practice:
    """It may leave evidence, and nothing else."""
    kept_before: list[int] = []

    def prepare() -> object:
        kept_before[:] = [kept()]
        return look()

    def kept() -> int:
        reports = (folder / "store" / ENVIRONMENT / "drills").glob("*.json")
        return sum(json.loads(report.read_text())["verdict"] == "kept" for report in reports)

    def look() -> object:
        backups = set((folder / "store").glob("*/*/*.json")) - set((folder / "store").glob("*/drills/*"))
        return shop.read().oid, shop.rows(), shop.others(), shop.service_answers(), backups

    name = f"dr-drill, {scenario}"
    return Practice(
        name, "dr-drill", ENVIRONMENT, {"scenario": scenario}, prepare, look, lambda: kept() == kept_before[0] + 1
    )


class Objects(Protocol):
    """What lies in the store of an environment."""

    def read(self) -> dict[str, bytes]:
        """By their names below the environment's."""

    def write(self, objects: Mapping[str, bytes]) -> None:
        """Those, and nothing else."""


class Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, bytes]:
        files = (path for path in self._path.rglob("*") if path.is_file())
        return {str(path.relative_to(self._path)): path.read_bytes() for path in files}

    def write(self, objects: Mapping[str, bytes]) -> None:
        shutil.rmtree(self._path)
        for name, content in objects.items():
            path = self._path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            if name.startswith(LEFT_OVER):
                os.utime(path, (0, 0))


class Bucket:
    def __init__(self, client: Any, bucket: str, environment: str) -> None:
        self._client, self._bucket, self._prefix = client, bucket, f"{environment}/"

    def read(self) -> dict[str, bytes]:
        return {name: self._get(name) for name in self.names()}

    def names(self) -> set[str]:
        listed = self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._prefix).get("Contents", [])
        return {str(one["Key"]).removeprefix(self._prefix) for one in listed}

    def write(self, objects: Mapping[str, bytes]) -> None:
        known = self.names()
        for name in known - objects.keys():
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + name)
        for name in objects.keys() - known:
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=objects[name])

    def _get(self, name: str) -> bytes:
        content: bytes = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"].read()
        return content


def prune_backups(environment: str, objects: Objects, before: Mapping[str, bytes]) -> Practice:
    """Of backups of one day, none of which is proven but the first, that one and the newest stay."""
    backups = _complete(before)
    staying = (backups[0], backups[-1])

    def prepare() -> object:
        objects.write(before)
        return objects.read()

    def is_done() -> bool:
        """Of one that was cut off in its middle, objects stay for a day: they belong to no backup any more."""
        return is_whole_half_way() and _complete(objects.read()) == sorted(staying)

    def is_whole_half_way() -> bool:
        there = objects.read()
        listed = _complete(there)
        return set(staying) <= set(listed) and _of(there, listed) == _of(before, listed)

    name = "prune-backups"
    return Practice(
        name,
        name,
        environment,
        {"delete": True},
        prepare,
        objects.read,
        is_done,
        is_whole_half_way=is_whole_half_way,
    )


def back_ups_to_prune(stack: RunningStack, proven: str) -> tuple[Objects, dict[str, bytes]]:
    """Of staging: two after the proven one, and half of an old one."""
    objects = Folder(Path(stack.surroundings["SHOP_BACKUPS"]) / STAGING)
    objects.write(_of(objects.read(), [proven]))
    for _ in range(2):
        _back_up(stack, STAGING)
    return objects, {**objects.read(), f"{LEFT_OVER}/files.tar.zst": b"half"}


def _complete(objects: Mapping[str, bytes]) -> list[str]:
    """The backups that have a manifest, oldest first."""
    return sorted(name.partition("/")[0] for name in objects if name.endswith("/manifest.json"))


def _of(objects: Mapping[str, bytes], backups: Sequence[str]) -> dict[str, bytes]:
    return {name: content for name, content in objects.items() if name.partition("/")[0] in backups}


def _back_up(stack: RunningStack, environment: str) -> None:
    made = stack.run_procedure("back-up-database", environment)
    assert made["ending"] == "Done", made["message"]


def _write_dump(stack: RunningStack, path: Path) -> None:
    shop = ShopDatabase(stack)
    with shop.connect() as connection:
        programs = find_programs_for(connection.info.server_version // 10_000)
    url = stack.surroundings["SHOP_STAGING_BACKUP_DATABASE_URL"]
    with libpq_environment(url, "drill") as environment:
        command = [programs.path("pg_dump"), "--format=custom", f"--file={path}"]
        subprocess.run(command, env=environment, check=True, timeout=60)
