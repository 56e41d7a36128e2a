"""What a run writes into the ledger: its start and ending, its intents, its armed undos."""

import contextvars
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg
from psycopg.types.json import Jsonb

from blocks.environment import Environment
from blocks.errors import BackstopError, FenceLost, LedgerUnreachable, Refused
from blocks.evidence import Evidence
from blocks.ledger import trail
from blocks.ledger.approval_requests import read_pending
from blocks.ledger.connection import Connection, connect
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
        try:
            trail.append(
                self.connection,
                event,
                run_id=self.id,
                environment=self.environment,
                actor=self.requested_by,
                detail=detail,
            )
        except psycopg.Error as error:
            raise FenceLost(f"The ledger went away: {type(error).__name__}.") from None

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
    try:
        # Behind whoever writes it at this moment.
        row = run.connection.execute("SELECT ending, message FROM run WHERE id = %s FOR SHARE", [run.id]).fetchone()
    except psycopg.Error as error:
        raise FenceLost(f"The ledger went away: {type(error).__name__}.") from None
    return (str(row["ending"]), str(row["message"])) if row and row["ending"] else None


def anchor_trail(run: Run) -> None:
    """Keep the trail's head where nobody who may write to the ledger can change it."""
    trail.anchor(run.connection, Evidence.from_surroundings())


@contextmanager
def effect(name: str, **target: object) -> Iterator[None]:
    """Around every call that changes something: the intent is durable before it, the outcome after it.

    Raises FenceLost instead of letting the call happen when this run no longer holds
    its environment.
    """
    run = current_run()
    if run.fence is None:
        raise FenceLost(f"'{name}' was about to happen without holding {run.environment}.")
    run.fence.check()
    detail = {"effect": name, "for": run.acts_for or run.id, "epoch": run.fence.epoch, **target}
    run.record("effect intended", **detail)
    run.effects += 1
    try:
        yield
    except BaseException as error:
        run.record("effect failed", **detail, error=type(error).__name__)
        raise
    run.record("effect done", **detail)


def read_intents(connection: Connection, run_id: str, name: str) -> list[dict[str, object]]:
    """Every intent of that name by the run or for it, oldest first: what it may have produced. Raises FenceLost."""
    try:
        rows = connection.execute(
            "SELECT detail FROM audit WHERE event = 'effect intended' AND detail->>'effect' = %s"
            " AND detail->>'for' = %s ORDER BY sequence",
            [name, run_id],
        ).fetchall()
    except psycopg.Error as error:
        raise FenceLost(f"The ledger went away: {type(error).__name__}.") from None
    return [dict(row["detail"]) for row in rows]  # type: ignore[call-overload]


def read_last_effect(run: Run, name: str, event: str) -> dict[str, Any] | None:
    """Details of the newest `effect intended` or `effect done` of that name in the run's environment."""
    row = run.connection.execute(
        "SELECT detail FROM audit WHERE environment = %s AND event = %s AND detail->>'effect' = %s"
        " ORDER BY sequence DESC LIMIT 1",
        [run.environment, event, name],
    ).fetchone()
    return dict(row["detail"]) if row else None  # type: ignore[call-overload]


def arm(run: Run, undo: str, parameters: Mapping[str, object]) -> int:
    """Write an undo down; durable when it returns. Returns its id."""
    try:
        with run.connection.transaction():
            row = run.connection.execute(
                "INSERT INTO armed_undo (run_id, environment, undo, parameters) VALUES (%s, %s, %s, %s) RETURNING id",
                [run.id, run.environment, undo, Jsonb(dict(parameters))],
            ).fetchone()
            run.record("undo armed", undo=undo, parameters=dict(parameters))
    except psycopg.Error as error:
        raise FenceLost(f"The ledger went away: {type(error).__name__}.") from None
    return int(str(row["id"])) if row else 0


def disarm(run: Run, armed_ids: Sequence[int]) -> None:
    """Strike armed undos out, all of them or none."""
    try:
        with run.connection.transaction():
            run.connection.execute(
                "UPDATE armed_undo SET state = 'disarmed', ended_at = now() WHERE id = ANY(%s)", [list(armed_ids)]
            )
            for armed_id in armed_ids:
                run.record("undo disarmed", armed=armed_id)
    except psycopg.Error as error:
        raise FenceLost(f"The ledger went away: {type(error).__name__}.") from None


def close_undo(run: Run, armed_id: int, state: str, message: str = "") -> None:
    """Write down what became of an armed undo that was carried out: `undone` or `failed`."""
    try:
        with run.connection.transaction():
            run.connection.execute(
                "UPDATE armed_undo SET state = %s, ended_at = now(), message = %s WHERE id = %s",
                [state, message, armed_id],
            )
            run.record(f"undo {state}", armed=armed_id, message=message)
    except psycopg.Error as error:
        raise FenceLost(f"The ledger went away: {type(error).__name__}.") from None


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


def read_undo_state(connection: Connection, armed_id: int) -> str:
    """`armed`, `disarmed`, `undone` or `failed`."""
    row = connection.execute("SELECT state FROM armed_undo WHERE id = %s", [armed_id]).fetchone()
    return str(row["state"]) if row else ""


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


class ArmedUndo(NamedTuple):
    id: int
    run_id: str
    undo: str
    """`module:flow`."""
    parameters: dict[str, Any]


def read_armed_undos(connection: Connection, environment: str) -> list[ArmedUndo]:
    """What is still armed in the environment, innermost first."""
    rows = connection.execute(
        "SELECT id, run_id, undo, parameters FROM armed_undo WHERE environment = %s AND state = 'armed'"
        " ORDER BY id DESC",
        [environment],
    )
    return [ArmedUndo(**row) for row in rows]  # type: ignore[arg-type]


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
