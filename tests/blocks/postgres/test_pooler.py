"""A session that a pooler lent is left as it was: the application gets it next."""

import psycopg
import pytest

from blocks.errors import Refused
from blocks.postgres.connection import connect
from tests.databases.pgbouncer import PROGRAM, running_pgbouncer
from tests.deployments.shop.processes import Postgres

SETTINGS = "SELECT name, setting FROM pg_settings WHERE name ~ '_timeout$' ORDER BY 1"


@pytest.mark.skipif(not PROGRAM, reason="no pgbouncer here")
def test_a_refusal_changes_nothing_in_the_session(server: Postgres) -> None:
    with running_pgbouncer(server.port, {"owner": server.password}, sessions=1) as port:
        url = server.url().replace(f":{server.port}/", f":{port}/")
        with psycopg.connect(url, autocommit=True, prepare_threshold=None) as application:
            before = application.execute(SETTINGS).fetchall()
            with pytest.raises(Refused, match="transaction pooler"):
                connect(url, "test", statement_seconds=7)
            assert application.execute(SETTINGS).fetchall() == before
