"""Statements of a dead run are ended before anything is undone: a free lock does not prove that they are over."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from blocks.postgres.connection import connect
from tasks.leftovers import end_leftovers
from tests.blocks.platforms.waiting import eventually
from tests.databases.practice import Practice

pytestmark = pytest.mark.parametrize("postgres", [16], indirect=True, ids=["PostgreSQL 16"])


def test_its_statement_is_ended_and_lands_no_effect(empty: Practice) -> None:
    url = empty.server.url(empty.database)
    empty.execute("CREATE TABLE effect (at timestamptz)")
    with ThreadPoolExecutor(1) as thread, connect(url, "dead-run") as dead, connect(url, "other-run") as other:
        statement = thread.submit(dead.execute, "INSERT INTO effect SELECT now() FROM pg_sleep(60)")
        eventually(
            lambda: empty.server.execute("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'INSERT INTO effect%'")
        )
        with empty.run("proofs"):
            end_leftovers.fn(empty.environment, ["dead-run", "another-dead-run"])
        with pytest.raises(psycopg.errors.AdminShutdown):
            statement.result(10)
        assert other.execute("SELECT count(*) FROM effect").fetchone() == (0,)


def test_a_database_that_is_away_keeps_nobody_from_undoing(empty: Practice) -> None:
    (empty.folder / "url").write_text("postgresql://nobody@127.0.0.1:1/none")
    with empty.run("proofs"):
        end_leftovers.fn(empty.environment, ["dead-run"])
