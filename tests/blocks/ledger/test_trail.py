"""Writing the audit trail on a real PostgreSQL: one chain, whatever is written and by how many at once."""

import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from blocks.evidence import Evidence
from blocks.ledger.connection import Connection
from blocks.ledger.trail import anchor, append, read_head, verify
from tests.blocks.ledger.conftest import Connect
from tests.ledger_database import LedgerDatabase


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    return Evidence(tmp_path / "evidence")


def write(connection: Connection, **detail: object) -> None:
    append(connection, "tested", run_id="run-1", environment="shop", actor="Ada", detail=detail)


def read_details(connection: Connection) -> list[object]:
    return [row["detail"] for row in connection.execute("SELECT detail FROM audit ORDER BY sequence")]


def test_an_empty_trail_is_in_order(connect: Connect, evidence: Evidence) -> None:
    connection = connect("run-1")
    anchor(connection, evidence)
    assert verify(connection, evidence) == []


def test_rows_follow_each_other(connect: Connect, evidence: Evidence) -> None:
    connection = connect("run-1")
    for number in range(3):
        write(connection, number=number)
        anchor(connection, evidence)
    assert verify(connection, evidence) == []
    assert read_head(connection)[0] == 3
    rows = connection.execute("SELECT previous, hash FROM audit ORDER BY sequence").fetchall()
    assert [row["previous"] for row in rows] == ["0" * 64, rows[0]["hash"], rows[1]["hash"]]


@pytest.mark.parametrize(
    "value",
    [
        *("ünïcödé – 漢字 🚒", 'quotes " \\ \n \t', "\u2028", ""),
        *(0, -1, 2**63, 10**40, True, None),
        *(0.1, 1.0, -0.0, 1e22, 5e-324, 1e-7, 0.1 + 0.2),
        {"nested": [{"deeper": [1, 2.5, {"β": None}]}, []], "": {}},
        {10: "ten", 9: "nine"},
        {"release-2": 10, "release-10": 90},
    ],
    ids=repr,
)
def test_what_postgresql_gives_back_is_what_was_signed(connect: Connect, evidence: Evidence, value: object) -> None:
    connection = connect("run-1")
    write(connection, value=value)
    assert verify(connection, evidence) == []
    assert read_details(connection) == [{"value": json.loads(json.dumps(value))}]


@pytest.mark.parametrize(
    "value", ["a\x00b", "half a pair \ud800", math.nan, math.inf, {"a\x00b": [math.nan]}], ids=ascii
)
def test_what_postgresql_cannot_store_is_written_as_text(connect: Connect, evidence: Evidence, value: object) -> None:
    """A vendor's message or a measured number must never keep a run from writing down what it does."""
    connection = connect("run-1")
    write(connection, value=value, known="kept")
    assert verify(connection, evidence) == []
    (detail,) = read_details(connection)
    assert isinstance(detail, dict)
    assert detail["known"] == "kept"
    assert detail["value"]


def test_four_writers_at_once_make_one_chain(connect: Connect, evidence: Evidence) -> None:
    writers = [connect(f"run-{number}") for number in range(4)]

    def write_many(connection: Connection) -> None:
        for number in range(25):
            write(connection, number=number)

    with ThreadPoolExecutor(len(writers)) as threads:
        list(threads.map(write_many, writers))
    assert read_head(writers[0])[0] == 100
    assert verify(writers[0], evidence) == []


def test_a_row_of_a_rolled_back_transaction_leaves_no_gap(connect: Connect, evidence: Evidence) -> None:
    connection = connect("run-1")
    write(connection, kept=1)
    with connection.transaction(force_rollback=True):
        write(connection, kept=0)
    write(connection, kept=2)
    assert read_details(connection) == [{"kept": 1}, {"kept": 2}]
    assert verify(connection, evidence) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET actor = 'nobody'",
        "UPDATE audit SET actor = 'nobody' WHERE false",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "INSERT INTO audit SELECT * FROM audit ON CONFLICT (sequence) DO UPDATE SET actor = 'nobody'",
    ],
)
def test_the_ledgers_own_role_only_appends(ledger: LedgerDatabase, connect: Connect, statement: str) -> None:
    connection = connect("run-1")
    write(connection, number=1)
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        connection.execute(statement.encode())
    assert ledger.as_superuser("SELECT actor FROM audit") == [("Ada",)]
