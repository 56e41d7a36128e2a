"""What the ledger says about runs that died with nothing armed."""

from collections.abc import Iterator

import pytest

from blocks.ledger import trail
from blocks.ledger.connection import Connection
from blocks.ledger.dead_runs import end_dead_run, read_dead_runs
from tests.blocks.platforms.waiting import eventually
from tests.ledger_database import LedgerDatabase

RUN, ENVIRONMENT = "a-run", "shop"


@pytest.fixture
def connection(ledger: LedgerDatabase) -> Iterator[Connection]:
    with ledger.connect("supervisor") as connection:
        yield connection


def intend(connection: Connection) -> None:
    detail = {"effect": "shift traffic", "for": RUN}
    trail.append(connection, "effect intended", run_id=RUN, environment=ENVIRONMENT, actor="Ada", detail=detail)


def close_undo(connection: Connection, ledger: LedgerDatabase, state: str) -> None:
    ledger.arm_undo(connection, RUN, ENVIRONMENT)
    connection.execute("UPDATE armed_undo SET state = %s WHERE state = 'armed'", [state])


@pytest.mark.parametrize(
    ("intends", "undos", "ending", "words"),
    [
        (False, [], "Refused", "before it changed anything"),
        (True, [], "Needs a human", "has no undo"),
        (True, ["disarmed"], "Done", "after the change was proven"),
        (True, ["disarmed", "undone"], "Rolled back", "had put back"),
        (True, ["undone", "failed"], "Needs a human", "an undo had failed"),
    ],
)
def test_its_ending_is_what_it_came_to(
    ledger: LedgerDatabase, connection: Connection, intends: bool, undos: list[str], ending: str, words: str
) -> None:
    ledger.open_run(connection, RUN, ENVIRONMENT)
    if intends:
        intend(connection)
    for state in undos:
        close_undo(connection, ledger, state)

    (dead,) = read_dead_runs(connection)
    assert end_dead_run(connection, dead)

    row = connection.execute("SELECT ending, message FROM run WHERE id = %s", [RUN]).fetchone()
    assert row
    assert row["ending"] == ending
    assert words in str(row["message"])
    assert read_dead_runs(connection) == []
    assert not end_dead_run(connection, dead)


def test_one_that_lives_is_not_dead(ledger: LedgerDatabase, connection: Connection) -> None:
    ledger.open_run(connection, RUN, ENVIRONMENT)
    with ledger.connect(RUN):
        assert read_dead_runs(connection) == []
    eventually(lambda: [dead.id for dead in read_dead_runs(connection)] == [RUN])  # its session ends in a moment


def test_what_is_armed_is_recovers(ledger: LedgerDatabase, connection: Connection) -> None:
    ledger.open_run(connection, RUN, ENVIRONMENT)
    ledger.arm_undo(connection, RUN, ENVIRONMENT)
    assert read_dead_runs(connection) == []


def test_one_that_waits_for_an_approval_needs_no_session(ledger: LedgerDatabase, connection: Connection) -> None:
    ledger.open_run(connection, RUN, ENVIRONMENT)
    connection.execute(
        "INSERT INTO approval_request (run_id, fingerprint, question, needed, approvers, break_glass, expires_at)"
        " VALUES (%s, 'a', '{}', 1, '{}', false, now())",
        [RUN],
    )
    assert read_dead_runs(connection) == []


def test_of_one_that_can_be_left_half_way_nothing_is_to_be_put_right(
    ledger: LedgerDatabase, connection: Connection
) -> None:
    ledger.open_run(connection, RUN, ENVIRONMENT)
    connection.execute("UPDATE run SET procedure = 'prune-backups'")
    intend(connection)
    (dead,) = read_dead_runs(connection)
    ending, message = dead.ending
    assert ending == "Needs a human"
    assert "nothing is to be put right" in message
