"""What `verify` finds after somebody with every right on the database's server changed the trail."""

from pathlib import Path
from typing import LiteralString, Protocol

import pytest

from blocks.evidence import Evidence
from blocks.ledger import trail
from blocks.ledger.connection import Connection
from tests.blocks.ledger.conftest import Connect
from tests.ledger_database import LedgerDatabase

ROWS = 6


@pytest.fixture
def evidence(tmp_path: Path) -> Evidence:
    return Evidence(tmp_path / "evidence")


@pytest.fixture
def connection(connect: Connect) -> Connection:
    connection = connect("run-1")
    write(connection, ROWS)
    return connection


class Tamper(Protocol):
    def __call__(self, statement: LiteralString, *values: object) -> None: ...


@pytest.fixture
def tamper(ledger: LedgerDatabase) -> Tamper:
    def tamper(statement: LiteralString, *values: object) -> None:
        with ledger.server.connect(ledger.name) as superuser:
            superuser.execute("ALTER TABLE audit DISABLE TRIGGER audit_append_only")
            superuser.execute(statement, values)

    return tamper


def write(connection: Connection, rows: int) -> None:
    for number in range(rows):
        trail.append(connection, "paid", run_id="run-1", environment="shop", actor="Ada", detail={"euros": number})


@pytest.mark.parametrize(
    "edit",
    [
        """UPDATE audit SET detail = '{"euros": 1000000}' WHERE sequence = 3""",
        "UPDATE audit SET actor = 'nobody' WHERE sequence = 3",
        "UPDATE audit SET event = 'other' WHERE sequence = 3",
        "UPDATE audit SET environment = 'other' WHERE sequence = 3",
        "UPDATE audit SET run_id = 'run-2' WHERE sequence = 3",
        "UPDATE audit SET at = '2020-01-01T00:00:00+00:00' WHERE sequence = 3",
    ],
)
def test_an_edited_row(connection: Connection, evidence: Evidence, tamper: Tamper, edit: LiteralString) -> None:
    tamper(edit)
    assert trail.verify(connection, evidence) == ["Row 3 was edited: its content does not match its hash."]


def test_an_edited_row_with_a_fresh_hash(connection: Connection, evidence: Evidence, tamper: Tamper) -> None:
    tamper("UPDATE audit SET actor = 'nobody' WHERE sequence = 3")
    row = connection.execute("SELECT * FROM audit WHERE sequence = 3").fetchone()
    assert row
    tamper("UPDATE audit SET hash = %s WHERE sequence = 3", trail.hash_of(row))
    (finding,) = trail.verify(connection, evidence)
    assert finding.startswith("Row 4 does not follow the row before it")


@pytest.mark.parametrize(("removed", "missing"), [([2], "2 to 2"), ([2, 3, 4], "2 to 4"), ([1], "1 to 1")])
def test_removed_rows(
    connection: Connection, evidence: Evidence, tamper: Tamper, removed: list[int], missing: str
) -> None:
    tamper("DELETE FROM audit WHERE sequence = ANY(%s)", removed)
    assert trail.verify(connection, evidence) == [f"Rows {missing} are missing."]


def test_removed_rows_with_the_rest_moved_up(connection: Connection, evidence: Evidence, tamper: Tamper) -> None:
    tamper("DELETE FROM audit WHERE sequence = 3")
    tamper("UPDATE audit SET sequence = 3 WHERE sequence = 4")
    assert any("Row 3 does not follow" in finding for finding in trail.verify(connection, evidence))


def test_two_reordered_rows(connection: Connection, evidence: Evidence, tamper: Tamper) -> None:
    tamper("UPDATE audit SET sequence = CASE sequence WHEN 2 THEN -3 WHEN 3 THEN -2 ELSE sequence END")
    tamper("UPDATE audit SET sequence = -sequence WHERE sequence < 0")
    findings = trail.verify(connection, evidence)
    assert any("Row 2 does not follow" in finding for finding in findings)
    assert any("Row 3 was edited" in finding for finding in findings)


def test_a_tail_cut_behind_an_anchor(connection: Connection, evidence: Evidence, tamper: Tamper) -> None:
    trail.anchor(connection, evidence)
    tamper("DELETE FROM audit WHERE sequence >= %s", ROWS - 1)
    assert trail.verify(connection, evidence) == [f"Row {ROWS} was anchored and is gone: the trail was cut."]


def test_a_tail_cut_behind_an_anchor_and_grown_again(
    connection: Connection, evidence: Evidence, tamper: Tamper
) -> None:
    trail.anchor(connection, evidence)
    tamper("DELETE FROM audit WHERE sequence >= %s", ROWS - 1)
    write(connection, 5)
    trail.anchor(connection, evidence)
    findings = trail.verify(connection, evidence)
    assert findings == [f"Row {ROWS} differs from its anchored hash: the chain was computed anew."]


def test_a_trail_emptied_altogether(connection: Connection, evidence: Evidence, tamper: Tamper) -> None:
    trail.anchor(connection, evidence)
    tamper("TRUNCATE audit")
    assert trail.verify(connection, evidence) == [f"Row {ROWS} was anchored and is gone: the trail was cut."]


def test_a_chain_computed_anew(connection: Connection, evidence: Evidence, tamper: Tamper) -> None:
    """Flawless in itself: only the head that was anchored outside the database contradicts it."""
    trail.anchor(connection, evidence)
    tamper("TRUNCATE audit")
    write(connection, ROWS)
    assert trail.verify(connection, Evidence(evidence.folder / "elsewhere")) == []
    trail.anchor(connection, evidence)
    assert trail.verify(connection, evidence) == [
        f"Row {ROWS} differs from its anchored hash: the chain was computed anew."
    ]


def test_a_damaged_anchor(connection: Connection, evidence: Evidence) -> None:
    trail.anchor(connection, evidence)
    (anchor,) = (evidence.folder / "audit").iterdir()
    anchor.write_bytes(b"\xff{")
    assert trail.verify(connection, evidence) == [f"Anchor audit/{anchor.name} was damaged: it cannot be read."]
