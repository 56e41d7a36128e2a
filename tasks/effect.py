"""Changes that a run makes: the intent of each is durable before it, its outcome after it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg.types.json import Jsonb

from blocks.errors import FenceLost
from blocks.ledger.connection import Connection, Row, ledger_answers
from tasks.ledger import Run, current_run


@contextmanager
def effect(name: str, **target: object) -> Iterator[dict[str, object]]:
    """Around every call that changes something: the intent is durable before it, the outcome after it.

    What is put into the dictionary is written down with the outcome. Raises FenceLost instead
    of letting the call happen when this run no longer holds its environment.
    """
    run = current_run()
    if run.fence is None:
        raise FenceLost(f"'{name}' was about to happen without holding {run.environment}.")
    run.fence.check()
    detail = {"effect": name, "for": run.acts_for or run.id, "epoch": run.fence.epoch, **target}
    run.record("effect intended", **detail)
    run.effects += 1
    learnt: dict[str, object] = {}
    try:
        yield learnt
    except BaseException as error:
        run.record("effect failed", **detail, error=type(error).__name__)
        raise
    run.record("effect done", **detail, **learnt)


def read_intents(connection: Connection, run_id: str, name: str) -> list[dict[str, Any]]:
    """Every intent of that name by the run or for it, oldest first: what it may have produced. Raises FenceLost."""
    return read_effects(connection, "effect intended", effect=name, **{"for": run_id})


def read_effects(connection: Connection, event: str, **target: str) -> list[dict[str, Any]]:
    """Details of every `effect intended` or `effect done` of which these are true, oldest first. Raises FenceLost."""
    with ledger_answers():
        rows = connection.execute(
            "SELECT detail FROM audit WHERE event = %s AND detail::jsonb @> %s ORDER BY sequence",
            [event, Jsonb(target)],
        ).fetchall()
    return [dict(row["detail"]) for row in rows]  # type: ignore[call-overload]


def read_unanswered(connection: Connection, run_id: str, name: str) -> list[tuple[dict[str, Any], float]]:
    """Details and seconds since of every effect of that name whose outcome nobody knows. Raises FenceLost."""
    with ledger_answers():
        rows = connection.execute(
            "SELECT event, detail, detail->>'error' AS error, extract(epoch FROM now() - at::timestamptz)::float AS ago"
            " FROM audit WHERE event LIKE 'effect %%' AND detail->>'effect' = %s AND detail->>'for' = %s"
            " ORDER BY sequence",
            [name, run_id],
        ).fetchall()
    nothing: Row = {"event": "", "error": ""}
    return [
        (dict(row["detail"]), float(str(row["ago"])))  # type: ignore[call-overload]
        for row, outcome in zip(rows, [*rows, nothing][1:], strict=True)
        if row["event"] == "effect intended" and not _is_answer(outcome)
    ]


def _is_answer(outcome: Row) -> bool:
    """Done, or a plain no."""
    return outcome["event"] == "effect done" or str(outcome["error"]).startswith("Refused")


def read_last_effect(run: Run, name: str, event: str) -> dict[str, Any] | None:
    """Details of the newest `effect intended` or `effect done` of that name in the run's environment."""
    row = run.connection.execute(
        "SELECT detail FROM audit WHERE environment = %s AND event = %s AND detail->>'effect' = %s"
        " ORDER BY sequence DESC LIMIT 1",
        [run.environment, event, name],
    ).fetchone()
    return dict(row["detail"]) if row else None  # type: ignore[call-overload]
