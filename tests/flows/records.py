"""What the ledger and the evidence store say about runs, read as an auditor would."""

import json
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.blocks.platforms.waiting import eventually
from tests.running_stack import RunningStack

RUN_SECONDS = 180


class Records:
    def __init__(self, stack: RunningStack) -> None:
        self._stack = stack

    def run(self, run_id: str) -> dict[str, Any]:
        """Empty before the run has begun."""
        rows = self._rows("SELECT * FROM run WHERE id = %s", run_id)
        return rows[0] if rows else {}

    def wait_for_ending(self, run_id: str) -> dict[str, Any]:
        """The run, once it has ended."""
        eventually(lambda: self.run(run_id).get("ending"), RUN_SECONDS)
        return self.run(run_id)

    def wait_until_watching(self, environment: str, before: str) -> str:
        """Until a newer run than `before` only watches the release; its id. One that ends instead fails the test."""
        run_id = self.wait_until_begun(environment, before)
        eventually(lambda: self.activity(environment) == "monitoring" or self.run(run_id)["ending"], RUN_SECONDS)
        assert not self.run(run_id)["ending"], self.run(run_id)["message"]
        return run_id

    def wait_until_begun(self, environment: str, before: str) -> str:
        """The id of a newer run than `before`."""
        eventually(lambda: self.newest_run(environment) != before, RUN_SECONDS)
        return self.newest_run(environment)

    def newest_run(self, environment: str) -> str:
        """Its id; empty when there was none. A recover, which the supervisor starts when it likes, does not count."""
        rows = self._rows(
            "SELECT id FROM run WHERE environment = %s AND procedure <> 'recover' ORDER BY started_at DESC LIMIT 1",
            environment,
        )
        return str(rows[0]["id"]) if rows else ""

    def runs_of(self, procedure: str) -> list[str]:
        """The ids of all its runs, in whatever environment, oldest first."""
        return [
            str(row["id"])
            for row in self._rows("SELECT id FROM run WHERE procedure = %s ORDER BY started_at", procedure)
        ]

    def events(self, run_id: str, event: str) -> list[dict[str, Any]]:
        """The details of the run's events of that name, oldest first."""
        rows = self._rows("SELECT detail FROM audit WHERE run_id = %s AND event = %s ORDER BY sequence", run_id, event)
        return [row["detail"] for row in rows]

    def effects(self, run_id: str) -> list[str]:
        """What the run set about, oldest first."""
        return [detail["effect"] for detail in self.events(run_id, "effect intended")]

    def armed(self, environment: str) -> list[str]:
        rows = self._rows("SELECT undo FROM armed_undo WHERE environment = %s AND state = 'armed'", environment)
        return [str(row["undo"]) for row in rows]

    def undos(self, run_id: str) -> list[str]:
        """The states of everything that the run armed, oldest first."""
        return [
            str(row["state"])
            for row in self._rows("SELECT state FROM armed_undo WHERE run_id = %s ORDER BY id", run_id)
        ]

    def open_rotations(self) -> list[str]:
        """Runs of which old values are kept."""
        return [str(row["run_id"]) for row in self._rows("SELECT run_id FROM rotation")]

    def activity(self, environment: str) -> str | None:
        """Of the environment's holder; None when nobody holds it."""
        rows = self._rows("SELECT activity FROM environment WHERE name = %s", environment)
        return rows[0]["activity"] if rows else None

    def assert_settled(self, environment: str) -> None:
        """Nothing armed, and the lock free: a recover lets go a moment after it wrote the dead run's ending."""
        assert self.armed(environment) == []
        held = "SELECT 1 FROM environment JOIN pg_locks ON pid = backend_pid WHERE name = %s AND locktype = 'advisory'"
        eventually(lambda: not self._rows(held, environment))

    def report(self, environment: str, run_id: str) -> dict[str, Any]:
        return dict(json.loads((self.evidence / "reports" / environment / f"{run_id}.json").read_text()))

    def changelog(self, environment: str) -> list[Path]:
        """The entries, oldest first."""
        return sorted((self.evidence / "changelog" / environment).glob("*.md"))

    @property
    def evidence(self) -> Path:
        return self._stack.state.folder / "evidence"

    def _rows(self, statement: str, *parameters: object) -> list[dict[str, Any]]:
        url = self._stack.layout.database_url("backstop")
        with psycopg.connect(url, connect_timeout=5, row_factory=dict_row) as connection:
            return connection.execute(statement, parameters).fetchall()
