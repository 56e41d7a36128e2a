"""Behind pgbouncer: no procedure works through it, and an application that does is led to the restored database."""

from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

import pytest

from tests.blocks.platforms.waiting import eventually
from tests.databases.pgbouncer import PROGRAM, running_pgbouncer
from tests.flows.records import Records
from tests.flows.runner import Runner, running_procedures
from tests.flows.shop_database import ENVIRONMENT, NAME, ShopDatabase
from tests.flows.writers import Writers
from tests.running_stack import RunningStack

pytestmark = pytest.mark.skipif(not PROGRAM, reason="no pgbouncer here")

CLIENTS = 50
URLS = ("SHOP_STAGING_DATABASE_URL", "SHOP_STAGING_BACKUP_DATABASE_URL", "SHOP_STAGING_RESTORE_DATABASE_URL")


@pytest.fixture
def shop(shared_stack: RunningStack) -> Iterator[ShopDatabase]:
    shop = ShopDatabase(shared_stack)
    yield shop
    shop.drop_others()


@pytest.fixture(scope="module")
def records(shared_stack: RunningStack) -> Records:
    return Records(shared_stack)


@pytest.fixture(scope="module")
def runner(shared_stack: RunningStack) -> Iterator[Runner]:
    shared_stack.mend()
    with running_procedures(shared_stack) as runner:
        yield runner


@pytest.fixture(scope="module")
def backup(shared_stack: RunningStack, runner: Runner) -> str:
    """The id of a proven one."""
    made = runner.run("back-up-database", ENVIRONMENT)
    backup_id = str(made["message"].split()[1])
    proven = runner.run("verify-backup", ENVIRONMENT, backup=backup_id)
    assert proven["ending"] == "Done", proven
    return backup_id


@pytest.fixture(scope="module")
def pooled(shared_stack: RunningStack) -> Iterator[dict[str, str]]:
    """The URLs of staging's database, by their variables, as they lead through pgbouncer."""
    direct = {name: shared_stack.surroundings[name] for name in URLS}
    logins = [urlsplit(url) for url in direct.values()]
    users = {str(login.username): unquote(str(login.password)) for login in logins}
    port = shared_stack.layout.ports["postgres"]
    with running_pgbouncer(port, users) as pooler_port:
        yield {name: url.replace(f":{port}/", f":{pooler_port}/") for name, url in direct.items()}


def rows(shop: ShopDatabase, database: str) -> int:
    return int(shop.ask("SELECT count(*) FROM tasks", database)[0][0])


def titles(shop: ShopDatabase, database: str) -> set[str]:
    return {str(title) for (title,) in shop.ask("SELECT title FROM tasks", database)}


@pytest.mark.usefixtures("backup")
def test_no_procedure_works_through_it(shop: ShopDatabase, pooled: dict[str, str], records: Records) -> None:
    before = shop.read()
    with running_procedures(shop.stack, **pooled) as runner:
        for procedure in ("back-up-database", "restore-and-verify"):
            ended = runner.run(procedure, ENVIRONMENT)
            assert ended["ending"] == "Refused", ended
            assert "reached through a transaction pooler" in ended["message"]
            assert "Give the server's direct address. Nothing was changed." in ended["message"]
            assert records.effects(ended["run"]) == []
    assert shop.read().oid == before.oid


# Errors in between are allowed: nobody can connect while the writes are stopped.
def test_who_writes_through_it_and_who_writes_directly_goes_on_in_the_restored_database(
    shop: ShopDatabase, runner: Runner, backup: str, pooled: dict[str, str], records: Records
) -> None:
    old = shop.read().oid
    direct = shop.stack.surroundings[URLS[0]]
    with Writers(pooled[URLS[0]], CLIENTS) as pooled_ones, Writers(direct, CLIENTS) as direct_ones:
        both = (pooled_ones, direct_ones)
        eventually(lambda: all(len(writers.busy_in(old)) == CLIENTS for writers in both), 30)

        ended = runner.run("restore-and-verify", ENVIRONMENT, backup=backup, accept_loss="public.tasks")

        assert ended["ending"] == "Done", ended
        new = shop.read().oid
        assert new != old
        eventually(lambda: all(len(writers.busy_in(new)) == CLIENTS for writers in both), 30)
    kept = str(ended["message"]).split("kept as ")[1].partition(".")[0]
    held, live = titles(shop, kept), titles(shop, NAME)
    for writers in both:
        assert writers.databases == {old, new}
        assert writers.never_returned_to(old)
        assert writers.acknowledged(new) <= live
        assert writers.acknowledged(old) <= held
    assert not shop.ask("SELECT 1 FROM pg_stat_activity WHERE datname = %s", values=[kept])
    (lost,) = records.report(ENVIRONMENT, ended["run"])["losses"]
    assert lost.startswith(f"public.tasks: {rows(shop, kept)} rows now, ")  # when nobody could write any more
    records.assert_settled(ENVIRONMENT)
