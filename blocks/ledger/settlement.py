"""What a run could not put back, put right by hand."""

from blocks.ledger import trail
from blocks.ledger.connection import Connection


def settle(connection: Connection, run_id: str, by: str) -> list[str]:
    """Strike out the failed undos of a run that needs a human, and record who said so. Returns its environments."""
    with connection.transaction():
        rows = connection.execute(
            "UPDATE armed_undo SET state = 'undone', message = 'settled by hand: ' || coalesce(message, '')"
            " WHERE run_id = %s AND state = 'failed' RETURNING environment",
            [run_id],
        ).fetchall()
        without_undo = connection.execute(
            "SELECT environment FROM run WHERE id = %s AND ending = 'Needs a human'"
            " AND NOT EXISTS (SELECT FROM audit WHERE run_id = run.id AND event = 'settled by hand')",
            [run_id],
        ).fetchall()
        environments = sorted({str(row["environment"]) for row in rows or without_undo})
        for environment in environments:
            trail.append(
                connection,
                "settled by hand",
                run_id=run_id,
                environment=environment,
                actor=by,
                detail={"undos": len(rows)},
            )
    return environments
