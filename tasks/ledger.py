"""What a run writes into the ledger about itself: its start, its phases, its ending."""

import contextvars
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from blocks.environment import Environment
from blocks.errors import BackstopError, FenceLost, LedgerUnreachable, Refused
from blocks.evidence import Evidence
from blocks.ledger import trail
from blocks.ledger.approval_requests import read_pending
from blocks.ledger.connection import Connection, connect, ledger_answers
from blocks.ledger.fence import Fence

_current: contextvars.ContextVar["Run | None"] = contextvars.ContextVar("backstop_run", default=None)


@dataclass
class Run:
    """One run of a procedure, over one direct connection to the ledger."""

    id: str
    procedure: str
    environment: str
    requested_by: str
    connection: Connection
    fence: Fence | None = None
    acts_for: str = ""
    """The dead run whose undo this one carries out; empty when it acts for itself."""
    undone: list[str] = field(default_factory=list)
    failed_undos: list[str] = field(default_factory=list)
    undos_under_way: int = 0
    """One inside of the other."""
    completed: dict[str, str] = field(default_factory=dict)
    """Dead run → why its change was completed instead of undone."""
    effects: int = 0
    continues: bool = False
    """It was begun again, after it waited for an approval."""
    may_act: bool = False
    """Those whom the environment's policy names have approved its plan, or it names nobody."""
    left_armed: bool = False
    """The environment was taken over, or the ledger stayed away: recover has to finish."""
    phases: list[tuple[str, float]] = field(default_factory=list)
    """Name → seconds, in order."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the report says beside the ending."""
    loaded: Environment | None = None
    """Its environment, once it was loaded."""
    started: float = field(default_factory=time.time)

    def record(self, event: str, **detail: object) -> None:
        """Append to the audit trail. Raises FenceLost when the ledger is gone."""
        with ledger_answers():
            trail.append(
                self.connection,
                event,
                run_id=self.id,
                environment=self.environment,
                actor=self.requested_by,
                detail=detail,
            )

    def hold_on(self) -> None:
        """Make sure that the ledger answers and the environment is still held; regain both if not.

        A cancellation may have struck in the middle of a statement: that connection is spent.
        """
        if not self.is_holding():
            self.regain()

    def is_holding(self) -> bool:
        """Whether the ledger answers and the environment is still this run's."""
        if self.fence is None or not self.fence.is_at_rest():
            return False
        try:
            self.fence.check()
        except FenceLost:
            return False
        return True

    def regain(self) -> None:
        """After a lost or disturbed connection: connect again and hold the environment again.

        Raises FenceLost when another run took the environment over meanwhile, or this one was taken for dead.
        """
        self.reconnect()
        ended = _read_ending(self)
        if ended:
            raise FenceLost(f"This run was taken for dead, and its ending written: {ended[0]}.")
        if self.fence:
            self.fence.retake(self.connection, self.fence.epoch)

    def reconnect(self) -> None:
        """Waits for the ledger as long as BACKSTOP_LEDGER_PATIENCE says. Raises LedgerUnreachable."""
        deadline = time.monotonic() + float(os.environ.get("BACKSTOP_LEDGER_PATIENCE", "600"))
        if self.fence:
            self.fence.cut_off()
        self.connection.close()
        while True:
            try:
                self.connection = connect(self.id)
                return
            except LedgerUnreachable:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(0.5)


def current_run() -> Run:
    run = _current.get()
    if run is None:
        raise BackstopError("This step was called outside of a procedure.", "Start the procedure that it belongs to.")
    return run


def has_current_run() -> bool:
    return _current.get() is not None


@contextmanager
def run_record(run: Run, parameters: Mapping[str, object], digest: str = "") -> Iterator[Run]:
    """Open the run in the ledger and make it the current one; `digest` is that of its parameters, whole.

    Raises Refused for a run that was opened before and does not wait for an approval.
    """
    try:
        opened = run.connection.execute(
            "INSERT INTO run (id, procedure, environment, parameters, requested_by, parameters_sha256)"
            " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO NOTHING RETURNING id",
            [run.id, run.procedure, run.environment, Jsonb(dict(parameters)), run.requested_by, digest],
        ).fetchone()
        if opened:
            run.record("run started", procedure=run.procedure, parameters=dict(parameters))
        else:
            _go_on(run, digest)
    except (psycopg.Error, FenceLost) as error:
        raise LedgerUnreachable(f"The ledger cannot be written to ({type(error).__name__}).") from None
    token = _current.set(run)
    try:
        yield run
    finally:
        _current.reset(token)


def _go_on(run: Run, digest: str) -> None:
    """Begun again after it waited for an approval. Raises Refused for every other repetition.

    Prefect lets anybody send a run back to the start, and edit its parameters before.
    """
    row = (
        run.connection.execute(
            "SELECT ending, procedure, requested_by, parameters_sha256 FROM run WHERE id = %s", [run.id]
        ).fetchone()
        or {}
    )
    if row["ending"] or read_pending(run.connection, run.id) is None:
        _refuse_repetition(run, row["ending"])
    if (row["procedure"], row["parameters_sha256"]) != (run.procedure, digest):
        run.record("changed parameters refused")
        raise Refused(
            "The parameters of this run were changed while it waited for an approval.",
            "Start a new run with those that are meant. Nothing was changed.",
        )
    run.continues = True
    run.record("run continued")


def _refuse_repetition(run: Run, ending: object) -> None:
    run.record("repetition refused", ending=ending)
    if ending:
        raise Refused(f"This run has already ended: {ending}.", "Start a new one. Nothing was changed.")
    raise Refused(
        "This run began once before and did not end: it died, or still goes on.",
        "What it left is recover's to put back. Start a new one after that. Nothing was changed.",
    )


def end_run(run: Run, ending: str, message: str) -> None:
    """Write the ending: the truth about the run, whatever Prefect shows. Anchors the trail.

    Raises FenceLost when another one stands there: the run was taken for dead.
    """
    try:
        _write_ending(run, ending, message)
    except psycopg.Error:
        run.reconnect()
        if _read_ending(run) != (ending, message):  # else it was written, and only the answer was lost
            _write_ending(run, ending, message)
    anchor_trail(run)


def _write_ending(run: Run, ending: str, message: str) -> None:
    with run.connection.transaction():
        written = run.connection.execute(
            "UPDATE run SET ended_at = now(), ending = %s, message = %s WHERE id = %s AND ending IS NULL RETURNING id",
            [ending, message, run.id],
        ).fetchone()
        if written is None:
            raise FenceLost("This run was taken for dead, and its ending written.")
        run.connection.execute(
            "UPDATE approval_request SET state = 'withdrawn', closed_at = now()"
            " WHERE run_id = %s AND closed_at IS NULL",
            [run.id],
        )
        trail.append(
            run.connection,
            "run ended",
            run_id=run.id,
            environment=run.environment,
            actor=run.requested_by,
            detail={"ending": ending, "message": message},
        )


def _read_ending(run: Run) -> tuple[str, str] | None:
    """With its message. Raises FenceLost when the ledger is gone again."""
    with ledger_answers():
        # Behind whoever writes it at this moment.
        row = run.connection.execute("SELECT ending, message FROM run WHERE id = %s FOR SHARE", [run.id]).fetchone()
    return (str(row["ending"]), str(row["message"])) if row and row["ending"] else None


def anchor_trail(run: Run) -> None:
    """Keep the trail's head where nobody who may write to the ledger can change it."""
    trail.anchor(run.connection, Evidence.from_surroundings())


@contextmanager
def phase(name: str) -> Iterator[None]:
    """A part of the run that a person follows: told in the trail as it begins, timed in the report."""
    run = current_run()
    run.record("phase began", phase=name)
    began = time.monotonic()
    try:
        yield
    finally:
        run.phases.append((name, time.monotonic() - began))


def end_dead_runs(run: Run, dead: set[str], ending: str, message: str) -> None:
    """Write the ending of runs that died, on their behalf."""
    with run.connection.transaction():
        ended = run.connection.execute(
            "UPDATE run SET ended_at = now(), ending = %s, message = %s WHERE id = ANY(%s) AND ending IS NULL"
            " RETURNING id",
            [ending, message, sorted(dead)],
        ).fetchall()
        if ended:
            run.record("dead runs ended", runs=sorted(str(row["id"]) for row in ended), ending=ending, message=message)
