import threading
from collections.abc import Iterator

import psycopg
import pytest

from blocks.postgres.connection import application_name
from blocks.postgres.lock_sampler import HeldLock, sampled_locks
from tests.blocks.platforms.waiting import eventually
from tests.deployments.shop.processes import Postgres

PURPOSE = "the migration"


@pytest.fixture
def database(server: Postgres) -> Iterator[str]:
    name = server.make_database()
    server.execute("CREATE TABLE users (id int); CREATE TABLE tasks (id int)", name)
    yield name
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def hold(server: Postgres, database: str, name: str, *statements: str) -> "psycopg.Connection[tuple[object, ...]]":
    connection = psycopg.connect(server.url(database), application_name=name)
    for statement in statements:
        connection.execute(statement.encode())
    return connection


def test_the_strongest_lock_of_each_table_is_told_with_who_waits(server: Postgres, database: str) -> None:
    statements = "SELECT FROM users", "LOCK TABLE users IN SHARE MODE", "ALTER TABLE tasks ADD COLUMN x int"
    with (
        sampled_locks(server.url(database), database, PURPOSE) as sampler,
        hold(server, database, application_name(PURPOSE), *statements),
    ):
        eventually(lambda: len(sampler.strongest()) == 2 and min(one.seconds for one in sampler.strongest()) > 0.1)
    tasks, users = sampler.strongest()
    assert (tasks.table, tasks.mode, tasks.stops) == ("public.tasks", "AccessExclusiveLock", "everything")
    assert (users.table, users.mode, users.stops) == ("public.users", "ShareLock", "writes")


def test_locks_of_others_are_not_told(server: Postgres, database: str) -> None:
    with (
        sampled_locks(server.url(database), database, PURPOSE) as sampler,
        hold(server, database, "somebody", "LOCK TABLE users"),
        hold(server, database, application_name(PURPOSE), "LOCK TABLE tasks IN ROW EXCLUSIVE MODE"),
    ):
        eventually(sampler.strongest)
    assert [(one.table, one.stops) for one in sampler.strongest()] == [("public.tasks", "nothing")]


def test_it_ends_with_the_block(server: Postgres, database: str) -> None:
    with pytest.raises(ZeroDivisionError), sampled_locks(server.url(database), database, PURPOSE):
        raise ZeroDivisionError
    assert [thread.name for thread in threading.enumerate() if thread.name == "lock-sampler"] == []


def test_the_modes_are_in_the_order_of_their_strength() -> None:
    weak, strong = HeldLock("t", "ShareUpdateExclusiveLock", 1), HeldLock("t", "ShareRowExclusiveLock", 1)
    assert (weak.stops, strong.stops) == ("nothing", "writes")
