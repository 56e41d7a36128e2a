"""What a rotation keeps for its way back: sealed, and gone when it has come to its end."""

import pytest

from blocks.errors import Refused
from blocks.ledger.connection import Connection
from blocks.ledger.rotations import forget, forget_ended, keep, read_open
from tests.blocks.ledger.approvals_key import VARIABLE, new_key
from tests.blocks.ledger.conftest import Connect
from tests.ledger_database import LedgerDatabase

OLD = {"database": {"DATABASE_URL": "postgresql://a:hunter2@host/app"}, "session": {"KEY": 'quoted "ключ"\n'}}
BEFORE = {"split": {"v1": 100}}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, new_key())


@pytest.fixture
def connection(ledger: LedgerDatabase, connect: Connect) -> Connection:
    """With a rotation that is under way."""
    connection = connect("run-1")
    ledger.open_run(connection, "run-1", "shop")
    keep(connection, "run-1", "shop", BEFORE, OLD)
    ledger.arm_undo(connection, "run-1", "shop")
    return connection


def end_undo(connection: Connection, state: str) -> None:
    connection.execute("UPDATE armed_undo SET state = %s", [state])


def test_what_was_kept_is_read_by_its_run(connection: Connection) -> None:
    found = read_open(connection, "shop", "run-1")
    assert found
    assert (found.run_id, found.before, found.unseal()) == ("run-1", BEFORE, OLD)
    assert "hunter2" not in str(found)
    assert read_open(connection, "shop", "run-2") is None
    assert read_open(connection, "other", "run-1") is None


def test_it_opens_for_its_own_run_and_with_its_own_key_only(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = read_open(connection, "shop", "run-1")
    assert found
    with pytest.raises(Refused, match="the rotation of run run-2"):
        found._replace(run_id="run-2").unseal()
    monkeypatch.setenv(VARIABLE, new_key())
    with pytest.raises(Refused, match="is not the key that it was made with"):
        found.unseal()


@pytest.mark.parametrize(
    ("state", "is_open"), [("armed", False), ("disarmed", False), ("undone", False), ("failed", True)]
)
def test_left_open_is_one_whose_way_back_failed(connection: Connection, state: str, is_open: bool) -> None:
    end_undo(connection, state)
    assert bool(read_open(connection, "shop")) is is_open


@pytest.mark.parametrize(
    ("state", "is_kept"), [("armed", True), ("disarmed", False), ("undone", False), ("failed", True)]
)
def test_of_those_that_died_after_their_end_nothing_is_kept(connection: Connection, state: str, is_kept: bool) -> None:
    end_undo(connection, state)
    forget_ended(connection, "other")
    assert read_open(connection, "shop", "run-1")
    forget_ended(connection, "shop")
    assert bool(read_open(connection, "shop", "run-1")) is is_kept


def test_one_that_came_to_its_end_is_forgotten(connection: Connection) -> None:
    forget(connection, "run-2")
    assert read_open(connection, "shop", "run-1")
    forget(connection, "run-1")
    assert read_open(connection, "shop", "run-1") is None
