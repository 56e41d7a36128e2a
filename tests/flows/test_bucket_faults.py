"""Backups in a bucket whose server fails: they ride it through, or leave none; what is there can be restored."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from blocks.stores.s3 import S3Store
from tests.blocks.stores.conftest import give_keys
from tests.blocks.stores.faults import Fault, FaultProxy, running_proxy
from tests.blocks.stores.servers import S3Server, running_swift
from tests.flows.bucket import ENVIRONMENT, drop_ballast, take_ballast, write_environment
from tests.flows.records import Records
from tests.flows.runner import Runner, running_procedures
from tests.flows.shop_database import EVERYTHING, ShopDatabase
from tests.running_stack import RunningStack

ALWAYS = 10_000


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_swift(tmp_path_factory.mktemp("swift")) as server:
        yield server


@pytest.fixture(scope="module")
def shared_proxy(swift: S3Server) -> Iterator[FaultProxy]:
    with running_proxy(swift.endpoint) as proxy:
        yield proxy


@pytest.fixture
def proxy(shared_proxy: FaultProxy) -> Iterator[FaultProxy]:
    """It lets everything pass, but for the faults that a test adds."""
    yield shared_proxy
    shared_proxy.faults.clear()


@pytest.fixture(scope="module")
def bucket(swift: S3Server) -> str:
    return swift.make_bucket()


@pytest.fixture
def store(swift: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch) -> S3Store:
    """The same bucket, without the proxy."""
    give_keys(swift, monkeypatch)
    return swift.store(bucket)


@pytest.fixture(scope="module")
def runner(
    shared_stack: RunningStack,
    swift: S3Server,
    shared_proxy: FaultProxy,
    bucket: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Runner]:
    shared_stack.mend()
    shared_stack.run("apply", str(write_environment(tmp_path_factory.mktemp("bucket"), bucket)))
    shop = ShopDatabase(shared_stack)
    take_ballast(shop)
    with running_procedures(shared_stack, S3_ENDPOINT=shared_proxy.endpoint, **swift.secrets()) as runner:
        yield runner
    drop_ballast(shop)


@pytest.fixture
def shop(shared_stack: RunningStack) -> Iterator[ShopDatabase]:
    shop = ShopDatabase(shared_stack)
    yield shop
    shop.drop_others()


@pytest.fixture(scope="module")
def records(shared_stack: RunningStack) -> Records:
    return Records(shared_stack)


def stored(store: S3Store) -> set[str]:
    return {one.name for one in store.read_objects("")}


def unfinished(store: S3Store) -> list[str]:
    return store.abort_unfinished("", datetime.now(UTC) + timedelta(hours=1))


def test_it_rides_failures_through_and_what_it_stored_is_proven_and_restored(
    shop: ShopDatabase, runner: Runner, proxy: FaultProxy, store: S3Store, records: Records
) -> None:
    before, ballast = shop.read(), shop.ask("SELECT md5(string_agg(content, '' ORDER BY content)) FROM ballast")
    proxy.faults += [
        Fault("503", "POST", "uploads"),
        Fault("500", "PUT", "partNumber=1"),
        Fault("hang", "PUT", "partNumber=2"),
        Fault("drop request", "PUT", "partNumber=3"),
        Fault("lose answer", "POST", "uploadId="),
        Fault("lose answer", "PUT", "manifest.json"),
    ]
    made = runner.run("back-up-database", ENVIRONMENT)
    assert made["ending"] == "Done", made["message"]
    assert [fault for fault in proxy.faults if fault.times] == []
    assert unfinished(store) == []
    backup = made["message"].split()[1]

    proxy.faults += [Fault("truncate", "GET", ".dat.zst.age", after_bytes=3 << 20), Fault("503", "GET", "manifest")]
    proven = runner.run("verify-backup", ENVIRONMENT, backup=backup)
    assert proven["ending"] == "Done", proven["message"]
    assert [fault for fault in proxy.faults if fault.times] == []

    proxy.faults += [Fault("truncate", "GET", ".dat.zst.age", after_bytes=3 << 20), Fault("hang", "GET", "files.tar")]
    restored = runner.run("restore-and-verify", ENVIRONMENT)
    assert restored["ending"] == "Done", restored["message"]
    assert [fault for fault in proxy.faults if fault.times] == []
    assert shop.read().oid != before.oid
    assert shop.ask("SELECT md5(string_agg(content, '' ORDER BY content)) FROM ballast") == ballast
    records.assert_settled(ENVIRONMENT)


@pytest.mark.parametrize(
    "fault",
    [Fault("500", "PUT", "partNumber=2", ALWAYS), Fault("drop request", "PUT", "partNumber=1", ALWAYS)],
    ids=["answers with errors", "hangs up in the middle of a part"],
)
def test_a_lasting_failure_leaves_no_backup_and_no_unfinished_upload(
    runner: Runner, proxy: FaultProxy, store: S3Store, records: Records, fault: Fault
) -> None:
    manifests = {name for name in stored(store) if name.endswith("manifest.json")}
    proxy.faults.append(fault)
    ended = runner.run("back-up-database", ENVIRONMENT)
    assert ended["ending"] == "Refused", ended["message"]
    assert ended["message"].startswith("The store ")
    assert "Nothing was changed." in ended["message"]
    assert {name for name in stored(store) if name.endswith("manifest.json")} == manifests
    assert unfinished(store) == []
    records.assert_settled(f"{ENVIRONMENT}/backups")


def test_whether_a_manifest_arrived_is_not_guessed(
    runner: Runner, proxy: FaultProxy, store: S3Store, records: Records
) -> None:
    known = stored(store)
    proxy.faults.append(Fault("drop request", "PUT", "manifest.json", ALWAYS))

    ended = runner.run("back-up-database", ENVIRONMENT)

    assert ended["ending"] == "Needs a human", ended["message"]
    assert "if its manifest arrived; else there is none. Make a new one." in ended["message"]
    assert not [name for name in stored(store) - known if "manifest" in name]
    records.assert_settled(f"{ENVIRONMENT}/backups")


def test_a_store_that_is_gone_for_good(runner: Runner, proxy: FaultProxy, store: S3Store, records: Records) -> None:
    known = stored(store)
    proxy.faults += [Fault("drop request", method, "", ALWAYS) for method in ("PUT", "POST", "DELETE")]
    in_the_middle = runner.run("back-up-database", ENVIRONMENT)
    proxy.faults += [Fault("drop request", "GET", "", ALWAYS)]
    from_the_start = [runner.run(one, ENVIRONMENT) for one in ("back-up-database", "restore-and-verify")]

    for ended in (in_the_middle, *from_the_start):
        assert ended["ending"] == "Refused", ended["message"]
        assert ended["message"].startswith("The store does not answer ")
        assert ended["message"].endswith(
            "Look whether its endpoint is right and reachable from here. Nothing was changed."
        )
        assert records.effects(ended["run"]) == []
    assert stored(store) == known


def test_a_store_that_goes_away_while_it_is_read_proves_and_changes_nothing(
    shop: ShopDatabase, runner: Runner, proxy: FaultProxy, store: S3Store, records: Records
) -> None:
    before, known = shop.read(), stored(store)
    proxy.faults.append(Fault("drop request", "GET", ".dat.zst.age", ALWAYS))

    restored = runner.run("restore-and-verify", ENVIRONMENT, accept_loss=EVERYTHING)
    verified = runner.run("verify-backup", ENVIRONMENT)

    assert restored["ending"] == "Rolled back", restored["message"]
    after = shop.read()
    assert (after.oid, after.may_connect) == (before.oid, before.may_connect)
    assert shop.others() == []
    assert shop.service_answers()
    assert verified["ending"] == "Refused", verified["message"]
    assert "The store does not answer" in verified["message"]
    assert stored(store) == known, "what could not be read says nothing about the backup"
    records.assert_settled(ENVIRONMENT)
