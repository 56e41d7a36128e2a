"""What stays in the ledger of an undo that somebody started: so that recover finishes it only if its process died."""

from collections.abc import Iterator

import pytest

from blocks.errors import RefusedByPlatform
from blocks.ledger.fence import Fence
from flows.guards.armed import finished_by
from flows.restore_table import undo_restore_table
from tasks.armed_undo import read_armed_undos
from tasks.effect import effect
from tasks.ledger import Run, run_record
from tests.ledger_database import LedgerDatabase

ENVIRONMENT = "shop"


@pytest.fixture
def run(ledger: LedgerDatabase) -> Iterator[Run]:
    """That holds its environment."""
    with ledger.connect("a-run") as connection:
        run = Run("a-run", "undo-restore-table", ENVIRONMENT, "Ada", connection)
        with run_record(run, {}):
            run.fence = Fence(connection, ENVIRONMENT, run.id)
            run.fence.take()
            yield run
            run.fence.release()


def states(run: Run) -> list[str]:
    return [str(row["state"]) for row in run.connection.execute("SELECT state FROM armed_undo ORDER BY id")]


def test_while_it_goes_on_recover_would_finish_it_and_afterwards_not(run: Run) -> None:
    with finished_by(undo_restore_table, "the rows", accept_loss="public.tasks"):
        (armed,) = read_armed_undos(run.connection, ENVIRONMENT)
        assert (armed.undo, armed.parameters) == (
            "flows.restore_table:undo_restore_table",
            {"accept_loss": "public.tasks"},
        )
    assert states(run) == ["disarmed"]


@pytest.mark.parametrize(
    ("begins", "undone", "left"),
    [(False, [], "disarmed"), (True, [], "failed"), (True, ["access to the database"], "disarmed")],
    ids=["before any change", "in the middle of one", "and had put back"],
)
def test_an_error_is_for_a_person_and_for_no_recover(run: Run, begins: bool, undone: list[str], left: str) -> None:
    with pytest.raises(RefusedByPlatform):
        fail(run, begins, undone)
    assert states(run) == [left]


def fail(run: Run, begins: bool, undone: list[str]) -> None:
    with finished_by(undo_restore_table, "the rows"):
        if begins:
            with effect("put rows back"):
                pass
        run.undone += undone
        raise RefusedByPlatform("The rows are in use.")


def test_as_an_undo_of_a_run_it_is_armed_already(run: Run) -> None:
    run.undos_under_way = 1
    with finished_by(undo_restore_table, "the rows"):
        assert states(run) == []
