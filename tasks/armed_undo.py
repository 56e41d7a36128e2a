"""Undos that are written down before the change that they take back: armed, and what became of them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from psycopg.types.json import Jsonb

from blocks.ledger.connection import Connection, ledger_answers
from tasks.ledger import Run, current_run


class ArmedUndo(NamedTuple):
    id: int
    run_id: str
    undo: str
    """`module:flow`."""
    parameters: dict[str, Any]


def arm(run: Run, undo: str, parameters: Mapping[str, object]) -> int:
    """Write an undo down; durable when it returns. Returns its id."""
    with ledger_answers(), run.connection.transaction():
        row = run.connection.execute(
            "INSERT INTO armed_undo (run_id, environment, undo, parameters) VALUES (%s, %s, %s, %s) RETURNING id",
            [run.id, run.environment, undo, Jsonb(dict(parameters))],
        ).fetchone()
        run.record("undo armed", undo=undo, parameters=dict(parameters))
    return int(str(row["id"])) if row else 0


def disarm(run: Run, armed_ids: Sequence[int]) -> None:
    """Strike armed undos out, all of them or none."""
    with ledger_answers(), run.connection.transaction():
        run.connection.execute(
            "UPDATE armed_undo SET state = 'disarmed', ended_at = now() WHERE id = ANY(%s)", [list(armed_ids)]
        )
        for armed_id in armed_ids:
            run.record("undo disarmed", armed=armed_id)


def close_undo(run: Run, armed_id: int, state: str, message: str = "") -> None:
    """Write down what became of an armed undo that was carried out: `undone` or `failed`."""
    with ledger_answers(), run.connection.transaction():
        run.connection.execute(
            "UPDATE armed_undo SET state = %s, ended_at = now(), message = %s WHERE id = %s",
            [state, message, armed_id],
        )
        run.record(f"undo {state}", armed=armed_id, message=message)


def read_armed_undos(connection: Connection, environment: str) -> list[ArmedUndo]:
    """What is still armed in the environment, innermost first."""
    rows = connection.execute(
        "SELECT id, run_id, undo, parameters FROM armed_undo WHERE environment = %s AND state = 'armed'"
        " ORDER BY id DESC",
        [environment],
    )
    return [ArmedUndo(**row) for row in rows]  # type: ignore[arg-type]


def read_undo_state(connection: Connection, armed_id: int) -> str:
    """`armed`, `disarmed`, `undone` or `failed`."""
    row = connection.execute("SELECT state FROM armed_undo WHERE id = %s", [armed_id]).fetchone()
    return str(row["state"]) if row else ""


def may_complete(procedure: str) -> bool:
    """Whether a dead run of that procedure is undone: of no other one, which made the same change on its way back."""
    run = current_run()
    if not run.acts_for or run.undos_under_way != 1:
        return False
    dead = run.connection.execute("SELECT procedure FROM run WHERE id = %s", [run.acts_for]).fetchone()
    return dead is not None and dead["procedure"] == procedure


def finished(procedure: str, what: str) -> str:
    """The message of a procedure that is its own `finish`: a dead run of it, for which this one acts, is done."""
    return complete(what) if may_complete(procedure) else what


def complete(why: str) -> str:
    """Called for a dead run where going back is worse: that run is done, and nothing of it is undone."""
    run = current_run()
    disarm(run, [undo.id for undo in read_armed_undos(run.connection, run.environment) if undo.run_id == run.acts_for])
    run.completed[run.acts_for] = why
    return why
