"""Follow a run to its ending. The ledger is the truth about it; Prefect says whether it still lives."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import psycopg

from blocks.errors import BackstopError
from blocks.ledger.connection import Connection, connect, has_session
from deployments.prefect_api import FINAL, PrefectApi, PrefectAway

POLL_SECONDS = 0.1
STATE_SECONDS = 1.0
"""Prefect is asked less often than the ledger: for it, every question is work."""
SILENCE_SECONDS = 600
"""How long Prefect's server may say nothing: a run rides that out, and so does who follows it."""
AFTERMATH_SECONDS = 90
"""How long a run that Prefect calls ended may take to get its ending: recover finishes a dead one."""

TOLD = (
    "phase began",
    "undo armed",
    "undo undone",
    "undo failed",
    "effect intended",
    "notice failed",
    "approval asked",
    "decision",
    "answer refused",
    "plan changed",
)
NAMED = ("Done", "Refused", "Not approved", "Rolled back", "Needs a human")
"""The states that a run returns by itself. Where the ledger cannot be read from here, they tell its ending."""


class Ended(NamedTuple):
    ending: str
    message: str


def follow(api: PrefectApi, run_id: str, timeout: float | None, tell: Callable[[float, str], None]) -> Ended | None:
    """Tell each step of the run as it happens; its ending, or None when `timeout` seconds passed first.

    Raises PrefectAway when its server has not answered for SILENCE_SECONDS, and the ledger told no ending.
    """
    began, seen, dead_since = time.monotonic(), 0, None

    def say(what: str) -> None:
        tell(time.monotonic() - began, what)

    page = _Page(api, run_id)
    connection = _connect_or_none(run_id)
    while timeout is None or time.monotonic() - began < timeout:
        if connection is None or connection.closed:
            connection = _connect_or_none(run_id)
        rows, ended = _read(connection, run_id, seen)
        for row in rows:
            seen = int(row["sequence"])
            if row["event"] in TOLD:
                say(_in_words(str(row["event"]), row["detail"]))
        if ended:
            return ended
        time.sleep(POLL_SECONDS)
        state = page.look(say)
        if state and state["type"] in FINAL and not _lives(connection, run_id):
            dead_since = dead_since or time.monotonic()
            never_began = not seen and connection is not None and not connection.closed
            patience = 1.0 if never_began or state["name"] in NAMED else AFTERMATH_SECONDS
            if time.monotonic() - dead_since > patience:
                return _without_ledger(state, never_began)
    return None


class _Page:
    """The run as Prefect shows it."""

    def __init__(self, api: PrefectApi, run_id: str) -> None:
        self._api, self._run_id = api, run_id
        self._told: set[str] = set()
        self._asked_at = self._answered_at = time.monotonic()
        self._silent = False

    def look(self, say: Callable[[str], None]) -> dict[str, Any] | None:
        """Say what is new there; the run's state, or None when Prefect was not asked or does not answer."""
        if time.monotonic() - self._asked_at < STATE_SECONDS:
            return None
        self._asked_at = time.monotonic()
        try:
            state, bars = self._api.read_state(self._run_id), self._api.read_progress(self._run_id)
        except PrefectAway:
            if time.monotonic() - self._answered_at > SILENCE_SECONDS:
                raise
            if not self._silent:
                say("  Prefect's server does not answer; it is asked again")
            self._silent = True
            return None
        self._answered_at, self._silent = time.monotonic(), False
        for bar in bars:
            self._say_once(bar, f"  {bar}", say)
        if state["type"] == "PAUSED":
            how = f"  decide at {self._api.link(self._run_id)} or: backstop approve {self._run_id} --as NAME"
            self._say_once(state["id"], how, say)
        return state

    def _say_once(self, key: str, what: str, say: Callable[[str], None]) -> None:
        if key not in self._told:
            self._told.add(key)
            say(what)


def _read(connection: Connection | None, run_id: str, seen: int) -> tuple[list[dict[str, Any]], Ended | None]:
    if connection is None:
        return [], None
    try:
        rows: list[dict[str, Any]] = connection.execute(
            "SELECT sequence, event, detail FROM audit WHERE run_id = %s AND sequence > %s ORDER BY sequence",
            [run_id, seen],
        ).fetchall()
        run = connection.execute("SELECT ending, message FROM run WHERE id = %s", [run_id]).fetchone()
    except psycopg.Error:
        connection.close()
        return [], None
    return rows, Ended(str(run["ending"]), str(run["message"])) if run and run["ending"] else None


def _lives(connection: Connection | None, run_id: str) -> bool:
    """Whether a process of the run is at work, whatever another one of it told Prefect."""
    try:
        return connection is not None and not connection.closed and has_session(connection, run_id)
    except psycopg.Error:
        return False


def _connect_or_none(run_id: str) -> Connection | None:
    try:
        return connect(f"follow {run_id}")
    except BackstopError:
        return None


def _without_ledger(state: dict[str, Any], never_began: bool) -> Ended:
    message = str(state["message"] or f"The run is {state['name']}.")
    if state["name"] in NAMED:
        return Ended(state["name"], message)
    if never_began:
        return Ended("Refused", f"{message} It never began, so nothing was changed.")
    return Ended("Needs a human", f"{message} The ledger tells no ending for it; see `backstop status`.")


def _in_words(event: str, detail: dict[str, Any]) -> str:
    words = _WORDS.get(event)
    return words(detail) if words else f"· {event}: {detail.get('message', '')}"


def _target_of(detail: dict[str, Any]) -> str:
    return str(detail.get("split") or detail.get("release") or detail.get("version") or "")


_WORDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "phase began": lambda detail: str(detail["phase"]),
    "effect intended": lambda detail: f"· {detail['effect']} {_target_of(detail)}",
    "undo armed": lambda detail: f"· armed: {detail['undo'].partition(':')[2].replace('_', ' ')}",
    "notice failed": lambda detail: f"· a notice to {detail['channel']} failed: {detail['reason']}",
    "approval asked": lambda detail: (
        f"· waits until {detail['until']} for {detail['needed']} of: {', '.join(detail['of']) or 'whoever is enrolled'}"
    ),
    "decision": lambda detail: f"· {detail['approver']}: {detail['verdict']} {detail['reason']}".rstrip(),
    "answer refused": lambda detail: f"· an answer was refused: {detail['why']}",
    "plan changed": lambda detail: f"· the plan changed: {'; '.join(detail['differences'])}",
}
