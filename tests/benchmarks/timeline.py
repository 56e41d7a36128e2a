"""When what happened in one run, from the command line to its return: Prefect's states and the ledger's rows."""

import json
import threading
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx

from blocks.ledger.connection import connect
from tests.running_stack import RunningStack

LOOK_SECONDS = 0.01
CLIENT_SECONDS = 10


class Mark(NamedTuple):
    what: str
    at: float
    """Unix seconds."""


class ProcessWatch:
    """Notes when the worker's next child appears. Prefect itself does not say when it starts a process."""

    def __init__(self, pid: int) -> None:
        self._tasks = Path(f"/proc/{pid}/task")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.appeared_at: float | None = None

    def __enter__(self) -> Self:
        self._before = self._children()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        while self.appeared_at is None and not self._ended.wait(LOOK_SECONDS):
            if self._children() - self._before:
                self.appeared_at = time.time()

    def _children(self) -> set[str]:
        return {pid for task in self._tasks.glob("*/children") for pid in task.read_text().split()}


def read_marks(stack: RunningStack, run_id: str, process_at: float | None) -> list[Mark]:
    """In the order in which they happened."""
    names = {"SCHEDULED": "run created", "PENDING": "worker picked it up", "RUNNING": "flow begins"}
    marks = [
        Mark(names.get(state["type"], f"Prefect shows {state['name']}"), as_seconds(state["timestamp"]))
        for state in read_states(stack, run_id)
    ]
    if process_at:
        marks.append(Mark("process starts", process_at))
    for row in read_rows(stack, run_id):
        what = row["detail"].get("phase") or row["detail"].get("effect") or row["detail"].get("undo", "")
        marks.append(Mark(f"{row['event']} {what}".strip(), as_seconds(str(row["at"]))))
    return sorted(marks, key=lambda mark: mark.at)


def read_states(stack: RunningStack, run_id: str) -> list[dict[str, Any]]:
    """Prefect's states of the run: type, name, timestamp."""
    surroundings = stack.surroundings
    user, _, password = surroundings["PREFECT_API_AUTH_STRING"].partition(":")
    answer = httpx.get(
        f"{surroundings['PREFECT_API_URL']}/flow_run_states/",
        params={"flow_run_id": run_id},
        auth=(user, password),
        timeout=CLIENT_SECONDS,
        trust_env=False,
    )
    return list(answer.raise_for_status().json())


def read_rows(stack: RunningStack, run_id: str) -> list[dict[str, Any]]:
    """The run's rows of the audit trail."""
    with connect("benchmark", stack.surroundings["BACKSTOP_LEDGER_URL"]) as connection:
        query = "SELECT at, event, detail FROM audit WHERE run_id = %s ORDER BY sequence"
        return connection.execute(query, [run_id]).fetchall()


def read_gaps(stack: RunningStack, environment: str, run_id: str) -> list[tuple[str, float]]:
    """Between the end of each step and the beginning of the next: which two, and the seconds."""
    report = json.loads((stack.folder / "evidence" / "reports" / environment / f"{run_id}.json").read_text())
    seconds = {phase["phase"]: phase["seconds"] for phase in report["phases"]}
    began = [
        (row["detail"]["phase"], as_seconds(str(row["at"])))
        for row in read_rows(stack, run_id)
        if row["event"] == "phase began"
    ]
    return [
        (f"{name} → {following}", next_at - at - seconds[name]) for (name, at), (following, next_at) in pairwise(began)
    ]


def as_seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
