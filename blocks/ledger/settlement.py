"""What a run could not put back, put right by hand."""

from blocks.ledger import trail
from blocks.ledger.connection import Connection


def settle(connection: Connection, run_id: str, by: str) -> list[str]:
    """Strike out the failed undos of a run, and record who said so. Returns their environments."""
    with connection.transaction():
        rows = connection.execute(
            "UPDATE armed_undo SET state = 'undone', message = 'settled by hand: ' || coalesce(message, '')"
            " WHERE run_id = %s AND state = 'failed' RETURNING environment",
            [run_id],
        ).fetchall()
        environments = sorted({str(row["environment"]) for row in rows})
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
