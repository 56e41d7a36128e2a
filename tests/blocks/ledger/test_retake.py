"""Holding again after the connection to the ledger was lost."""

import pytest

from blocks.errors import FenceLost
from blocks.ledger import fence
from blocks.ledger.connection import Connection
from blocks.ledger.fence import Fence
from tests.blocks.ledger.conftest import Connect


@pytest.fixture
def held(connect: Connect) -> Fence:
    held = Fence(connect("run-1"), "shop", "run-1")
    held.take()
    return held


def test_it_is_held_again_when_nobody_took_it(held: Fence, connect: Connect) -> None:
    held.connection.close()
    before = held.epoch
    held.retake(connect("run-1"), before)
    assert held.epoch == before + 1
    assert held.check() is None


def test_its_own_lost_session_is_no_obstacle(held: Fence, connect: Connect) -> None:
    """The client knows that the connection is gone, the server does not."""
    lost = held.connection
    held.retake(connect("run-1"), held.epoch)
    assert held.check() is None
    assert not is_alive(lost)


def test_it_is_lost_when_another_one_holds_it(held: Fence, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence, "RELEASE_SECONDS", 0.3)
    held.connection.close()
    other = Fence(connect("run-2"), "shop", "run-2")
    other.take(patience=5)
    with pytest.raises(FenceLost, match="Another run holds shop now"):
        held.retake(connect("run-1"), held.epoch)
    assert other.check() is None


def test_it_is_lost_when_another_one_had_it_and_left_and_stays_free(held: Fence, connect: Connect) -> None:
    held.connection.close()
    other = Fence(connect("run-2"), "shop", "run-2")
    other.take(patience=5)
    other.release()
    with pytest.raises(FenceLost, match="took shop over"):
        held.retake(connect("run-1"), held.epoch)
    Fence(connect("run-3"), "shop", "run-3").take()


def is_alive(connection: Connection) -> bool:
    try:
        connection.execute("SELECT 1")
    except Exception:
        return False
    return True
