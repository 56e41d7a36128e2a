"""A backup that has begun and cannot go on: somebody holds a table."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.blocks.platforms.waiting import eventually
from tests.flows.records import RUN_SECONDS, Records
from tests.flows.shop_database import ENVIRONMENT, ShopDatabase

WAITING = "SELECT pid FROM pg_stat_activity WHERE datname = 'shop_staging' AND application_name LIKE 'backstop %'"
DUMPING = f"{WAITING} AND wait_event_type = 'Lock'"


@contextmanager
def backup_under_way(shop: ShopDatabase, records: Records) -> Iterator[str]:
    """Its run's id. It goes on when the block ends."""
    before = records.newest_run(ENVIRONMENT)
    with shop.connect() as connection, connection.transaction():
        connection.execute("LOCK TABLE tasks")
        shop.stack.run("run", "back-up-database", ENVIRONMENT, "-p", "requested_by=Ada")
        eventually(lambda: shop.ask(DUMPING), RUN_SECONDS)
        run_id = records.newest_run(ENVIRONMENT)
        assert run_id != before
        yield run_id
