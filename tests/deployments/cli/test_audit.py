"""The trail as the command line shows and proves it, on a ledger that somebody has altered."""

import json

import psycopg
import pytest

from tests.running_stack import RunningStack

ROWS = "SELECT sequence, event FROM audit ORDER BY sequence DESC LIMIT 1"


@pytest.fixture
def trail(stack: RunningStack) -> psycopg.Connection:
    """Rights over the ledger that Backstop itself has not: the trigger is off in this session."""
    stack.run_as_ci("health-check", "shop-staging")
    layout = stack.layout
    connection = psycopg.connect(
        layout.database_url("backstop"), user="postgres", password=layout.credentials.postgres_password
    )
    connection.execute("SET session_replication_role = replica")
    return connection


def test_a_whole_trail_is_proven_and_an_edited_one_is_found(stack: RunningStack, trail: psycopg.Connection) -> None:
    assert "The trail is whole" in stack.run("audit", "--verify")
    with trail:
        trail.execute("UPDATE audit SET actor = 'somebody else' WHERE sequence = 1")
        trail.commit()
        try:
            code, output = stack.try_to_run("audit", "--verify")
        finally:
            trail.execute(
                "UPDATE audit SET actor = (SELECT requested_by FROM run WHERE id = run_id) WHERE sequence = 1"
            )
    assert (code, output.strip()) == (1, "Row 1 was edited: its content does not match its hash.")
    assert "The trail is whole" in stack.run("audit", "--verify")


def test_the_trail_is_exported_a_row_a_line(stack: RunningStack) -> None:
    result = stack.run_as_ci("health-check", "shop-staging")
    rows = [json.loads(line) for line in stack.run("audit", "--run", result["run"], "--json").splitlines()]
    assert [row["event"] for row in rows] == ["run started", "run ended"]
    assert {row["run_id"] for row in rows} == {result["run"]}
    assert rows[1]["detail"]["ending"] == "Done"
    assert len(stack.run("audit", "--last", "1").splitlines()) == 1
