"""Runs that died with nothing armed: nobody has to put anything back, but their ending is missing.

What a dead run left armed is recover's. Of the others the ledger knows enough to say how they ended: what they
intended, which undos they struck out, which they carried out.
"""

from typing import NamedTuple

from blocks.ledger import trail
from blocks.ledger.connection import Connection

_GOES_ON = {
    "prune-backups": "What is gone was to go, and every backup that is listed is whole: nothing is to be put right."
    " Start it again, or leave it to the next one that is due; it goes on where this one was."
}
"""Procedures whose many small steps have no undo, and that can be left half-way."""


class DeadRun(NamedTuple):
    """A run without an ending whose session is gone."""

    id: str
    procedure: str
    environment: str
    effects: int
    """How many it intended."""
    disarmed: int
    undone: int
    failed: int

    @property
    def ending(self) -> tuple[str, str]:
        """Its name, and what the person on call reads."""
        if self.procedure == "recover":
            return "Refused", "Its process died. What is armed still, the next recover puts back."
        if self.failed:
            return "Needs a human", "Its process died after an undo had failed; `backstop status` shows which."
        if self.undone:
            return "Rolled back", "Its process died after it had put back what it changed."
        if not self.effects:
            return "Refused", "Its process died before it changed anything. Start it again."
        if self.disarmed:
            return "Done", "Its process died after the change was proven; notices and report may be missing."
        hint = _GOES_ON.get(self.procedure, f"`backstop audit --run {self.id}` shows what it did.")
        return "Needs a human", f"Its process died while it changed something that has no undo. {hint}"


def read_dead_runs(connection: Connection) -> list[DeadRun]:
    """Those whose session is gone just now. One whose connection broke may come back: look twice."""
    rows = connection.execute(
        "SELECT run.id, procedure, environment,"
        " (SELECT count(*) FROM audit WHERE run_id = run.id AND event = 'effect intended') AS effects,"
        " (SELECT count(*) FROM armed_undo WHERE run_id = run.id AND state = 'disarmed') AS disarmed,"
        " (SELECT count(*) FROM armed_undo WHERE run_id = run.id AND state = 'undone') AS undone,"
        " (SELECT count(*) FROM armed_undo WHERE run_id = run.id AND state = 'failed') AS failed"
        " FROM run WHERE ending IS NULL"
        " AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = left('backstop ' || run.id, 63))"
        " AND NOT EXISTS (SELECT FROM approval_request WHERE run_id = run.id AND closed_at IS NULL)"
        " AND NOT EXISTS (SELECT FROM armed_undo WHERE run_id = run.id AND state = 'armed')"
    )
    return [DeadRun(**row) for row in rows]  # type: ignore[arg-type]


def end_dead_run(connection: Connection, dead: DeadRun) -> bool:
    """Write its ending on its behalf; False when it has one by now, or is back."""
    ending, message = dead.ending
    with connection.transaction():
        ended = connection.execute(
            "UPDATE run SET ended_at = now(), ending = %s, message = %s WHERE id = %s AND ending IS NULL"
            " AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = left('backstop ' || run.id, 63))"
            " RETURNING id",
            [ending, message, dead.id],
        ).fetchone()
        if ended:
            trail.append(
                connection,
                "dead runs ended",
                run_id=dead.id,
                environment=dead.environment,
                actor="supervisor",
                detail={"runs": [dead.id], "ending": ending, "message": message},
            )
    return ended is not None
