"""What was backed up comes back as it was, on real servers; and whatever is damaged is found."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases.practice import Practice, everything, practising
from tests.deployments.shop.processes import Postgres
from tests.ledger_database import LedgerDatabase


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BACKSTOP_EVIDENCE", str(tmp_path / "evidence"))
    return tmp_path


@pytest.fixture
def practice(ledger: LedgerDatabase, postgres: Postgres, folder: Path) -> Iterator[Practice]:
    with practising(ledger, postgres, folder, everything(postgres)) as practice:
        yield practice


def test_one_of_everything_comes_back_as_it_was(practice: Practice) -> None:
    backup = practice.back_up()
    assert practice.verify(backup) == []
    assert practice.verify(backup, full=False) == []
    assert {member.name for member in backup.manifest.members}
