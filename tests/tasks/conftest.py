from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.ledger import Run, run_record
from tests.databases.practice import Practice, practising, script_of_everything
from tests.deployments.shop.processes import Postgres
from tests.ledger_database import LedgerDatabase


@pytest.fixture
def run(ledger: LedgerDatabase) -> Iterator[Run]:
    """The current run, over a real ledger."""
    with ledger.connect("run-1") as connection:
        run = Run(id="run-1", procedure="deploy", environment="shop", requested_by="Ada", connection=connection)
        with run_record(run, {}):
            yield run


@pytest.fixture
def evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BACKSTOP_EVIDENCE", str(tmp_path / "evidence"))
    return tmp_path / "evidence"


@pytest.fixture
def empty(ledger: LedgerDatabase, postgres: Postgres, tmp_path: Path, evidence: Path) -> Iterator[Practice]:
    """An empty database."""
    with practising(ledger, postgres, tmp_path) as practice:
        yield practice


@pytest.fixture(scope="session")
def shared_everything(
    shared_ledger: LedgerDatabase, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Practice]:
    with practising(
        shared_ledger, postgres, tmp_path_factory.mktemp("everything"), script_of_everything(postgres)
    ) as practice:
        yield practice


@pytest.fixture
def everything(ledger: LedgerDatabase, shared_everything: Practice, evidence: Path) -> Practice:
    """A database with one of everything, which no test changes."""
    return shared_everything
