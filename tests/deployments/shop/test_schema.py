"""Migrations at the start of the service."""

from contextlib import ExitStack

from tests.deployments.shop.conftest import Checkout
from tests.deployments.shop.processes import Postgres, running_shop, starting_shop, wait_until

LOCK = int.from_bytes(b"shop")


def test_two_that_start_at_once_migrate_once(checkout: Checkout, postgres: Postgres, redis_url: str) -> None:
    """Both are held at the lock, so that they really arrive together."""
    database = postgres.make_database()
    folder = checkout("v2.0.0")

    def both_wait() -> bool:
        waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        return postgres.execute(waiting) == [(2,)]

    with ExitStack() as running:
        with postgres.connect(database) as holder:
            holder.execute("select pg_advisory_lock(%s)", [LOCK])
            start = (folder, postgres.url(database), redis_url)
            shops = [running.enter_context(starting_shop(*start)) for _ in range(2)]
            wait_until(both_wait, "both replicas wait for the lock")
            assert postgres.execute("select to_regclass('tasks')", database) == [(None,)]
        for shop in shops:
            wait_until(shop.is_up, "the shop answers")

    assert postgres.execute("select version_num from alembic_version", database) == [("0002",)]
    assert postgres.execute("select count(*) from offers", database) == [(3,)]


def test_a_release_starts_on_the_schema_of_a_later_one(checkout: Checkout, postgres: Postgres, redis_url: str) -> None:
    database = postgres.make_database()
    for version, revision in (("v1.1.0", "0001"), ("v2.0.0", "0002"), ("v1.1.0", "0002")):
        with running_shop(checkout(version), postgres.url(database), redis_url) as shop:
            assert shop.client.get("/version").json() == {"version": version}
            assert postgres.execute("select version_num from alembic_version", database) == [(revision,)]
