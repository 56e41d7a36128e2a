"""The same backup and proof with the store in a bucket, and with a server that only lends a database."""

from collections.abc import Callable
from pathlib import Path

import pytest

from blocks.errors import Refused
from blocks.manifest import Manifest
from blocks.postgres.connection import Connection
from tasks import verification
from tests.blocks.stores.conftest import give_keys
from tests.blocks.stores.servers import running_moto, running_swift
from tests.databases.practice import Practice
from tests.databases.roles import make_role
from tests.deployments.shop.processes import Postgres

ON_ONE_VERSION = pytest.mark.parametrize("postgres", [18], indirect=True, ids=["PostgreSQL 18"])


@ON_ONE_VERSION
@pytest.mark.parametrize("running", [running_moto, running_swift], ids=["moto", "swift"])
def test_a_bucket_keeps_it_as_well(
    everything: Practice, running: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything.environment
    with running(tmp_path) as server:  # type: ignore[attr-defined]
        give_keys(server, monkeypatch)
        bucket = server.make_bucket()
        try:
            everything.environment = everything.describe(store=server.store(bucket))
            backup = everything.back_up("in a bucket")
            assert everything.verify(backup) == []
            assert everything.verify(backup, full=False) == []

            name = f"shop/{backup.id}/{backup.manifest.members[0].pieces[0].name}"
            server.client().put_object(Bucket=bucket, Key=name, Body=b"something else")
            (cheap,) = everything.verify(backup, full=False)
            (full,) = everything.verify(backup)
            assert "has 14 bytes" in cheap
            assert name.rpartition("/")[2] in full
        finally:
            everything.environment = before


@pytest.fixture
def no_extensions_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the database had an extension that no throw-away server of this machine can have."""
    really_missing = verification._missing_extensions

    def missing(connection: Connection, manifest: Manifest) -> set[str]:
        is_throwaway = connection.info.host.startswith("/")
        return {"postgis"} if is_throwaway else really_missing(connection, manifest)

    monkeypatch.setattr(verification, "_missing_extensions", missing)


@pytest.mark.usefixtures("no_extensions_here")
def test_a_server_that_is_named_takes_the_proof_where_no_own_one_can(everything: Practice, tmp_path: Path) -> None:
    before, server = everything.environment, everything.server
    (tmp_path / "scratch").write_text(make_role(server, "postgres", "verify-backup"))
    try:
        everything.environment = everything.describe(scratch_url=f"file:{tmp_path}/scratch")
        databases = names(server)
        assert everything.verify(everything.unchanged) == []
        assert names(server) == databases
    finally:
        everything.environment = before


@ON_ONE_VERSION
@pytest.mark.usefixtures("no_extensions_here")
def test_without_any_server_nothing_is_said_about_the_backup(everything: Practice) -> None:
    with pytest.raises(Refused, match="with postgis was found to prove the backup in"):
        everything.verify(everything.unchanged)


def names(server: Postgres) -> list[tuple[object, ...]]:
    return server.execute("SELECT datname FROM pg_database ORDER BY 1")
