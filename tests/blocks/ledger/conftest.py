from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from blocks.ledger.connection import Connection
from tests.ledger_database import LedgerDatabase

Connect = Callable[[str], Connection]
"""Run id → a connection that the test's end closes; the run stands in the ledger."""


@pytest.fixture
def connect(ledger: LedgerDatabase) -> Iterator[Connect]:
    with ExitStack() as connections:

        def connect(run_id: str) -> Connection:
            connection = connections.enter_context(ledger.connect(run_id))
            ledger.open_run(connection, run_id, "shop")
            return connection

        yield connect
