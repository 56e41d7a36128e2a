from collections.abc import Iterator

import pytest

from tasks.ledger import Run, run_record
from tests.ledger_database import LedgerDatabase


@pytest.fixture
def run(ledger: LedgerDatabase) -> Iterator[Run]:
    """The current run, over a real ledger."""
    with ledger.connect("run-1") as connection:
        run = Run(id="run-1", procedure="deploy", environment="shop", requested_by="Ada", connection=connection)
        with run_record(run, {}):
            yield run
