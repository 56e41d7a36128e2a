"""What stands before the lock: a procedure that never asked, and a run that begins again."""

from typing import Any

import pytest

from blocks.approvals import Approvals
from blocks.environment import Environment
from blocks.errors import GoesOnElsewhere, Refused
from blocks.ledger.connection import Connection
from flows.guards.approval import approved, hear_answer
from flows.guards.lock import locked
from flows.guards.parameters import digest
from tasks.ledger import Run, run_record
from tasks.question import Question
from tests.ledger_database import LedgerDatabase

QUESTION = Question(title="Tidy up", fingerprint="0123456789abcdef", facts={}, effects=[])


def asking(needed: int = 1) -> Environment:
    """Somebody has to agree before anything is done in it."""
    parts: dict[str, Any] = {"environment": "shop", "approvals": Approvals(needed=needed)}
    return Environment.model_construct(**parts)


def run(connection: Connection) -> Run:
    return Run(id="run-1", procedure="tidy-up", environment="shop", requested_by="ada", connection=connection)


def test_a_procedure_that_forgot_to_ask_holds_nothing_and_changes_nothing(ledger: LedgerDatabase) -> None:
    with ledger.connect("run-1") as connection, run_record(run(connection), {}, ""):
        with pytest.raises(Refused, match="people are asked before tidy-up, and nobody was"), locked(asking()):
            pytest.fail("it went on")
        assert connection.execute("SELECT FROM environment WHERE run_id IS NOT NULL").fetchone() is None


def test_where_nobody_has_to_agree_it_goes_on(ledger: LedgerDatabase) -> None:
    with ledger.connect("run-1") as connection, run_record(run(connection), {}, ""), locked(asking(0)):
        assert connection.execute("SELECT FROM environment WHERE run_id = 'run-1'").fetchone() is not None


def test_a_run_whose_approval_another_process_took_neither_goes_on_nor_asks_again(ledger: LedgerDatabase) -> None:
    with ledger.connect("run-1") as connection:
        begun_again = run(connection)
        begun_again.continues = True
        with run_record(begun_again, {}, ""):
            with pytest.raises(GoesOnElsewhere):
                hear_answer(asking())
            with pytest.raises(GoesOnElsewhere):
                approved(asking(), QUESTION)
        assert connection.execute("SELECT FROM approval_request").fetchone() is None


def test_parameters_are_compared_whole() -> None:
    long = "x" * 1000
    assert digest({"cause": f"{long}a"}) != digest({"cause": f"{long}b"})
    assert digest({"a": 1, "b": [{"c": long}]}) == digest({"b": [{"c": long}], "a": 1})
    assert digest({"a": None}) != digest({})
