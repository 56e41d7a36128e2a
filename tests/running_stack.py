"""A real stack in a folder of its own, driven through the command line."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from deployments.stack.layout import NAMES, Layout, read_layout
from deployments.stack.processes import is_alive
from deployments.stack.record import Launched, read_record
from deployments.stack.state import State
from deployments.stack.surroundings import worker_environment
from tests.flows.runner import KeptRunner

COMMAND = (sys.executable, "-m", "deployments.cli")
WITHIN = 180


@dataclass(frozen=True)
class RunningStack:
    folder: Path
    runner: KeptRunner = field(default_factory=KeptRunner, compare=False, repr=False)

    @property
    def state(self) -> State:
        return State(self.folder)

    @property
    def layout(self) -> Layout:
        return read_layout(self.state)

    @property
    def components(self) -> dict[str, Launched]:
        return read_record(self.state).components

    def pids(self) -> dict[str, int]:
        return {name: launched.pid for name, launched in self.components.items()}

    def mend(self) -> None:
        """Whatever of it has died is started."""
        components = self.components
        if components.keys() != set(NAMES) or not all(part.ready and is_alive(part) for part in components.values()):
            self.run("up")

    def begin(self, *words: str, stdin: bool = False) -> subprocess.Popen[str]:
        """The command under way; with `stdin` it reads what a test writes."""
        return subprocess.Popen(
            [*COMMAND, *words],
            env=self._variables,
            stdin=subprocess.PIPE if stdin else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *words: str) -> str:
        """What the command printed; it must succeed."""
        code, output = self.try_to_run(*words)
        assert code == 0, output
        return output

    def try_to_run(self, *words: str) -> tuple[int, str]:
        with self.begin(*words) as process:
            try:
                output, _ = process.communicate(timeout=WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return process.returncode, output

    def run_procedure(self, procedure: str, environment: str, **parameters: object) -> dict[str, Any]:
        """Its run, ending, message, exit_code. In a process that is kept: a new one for each takes seconds to begin."""
        return self.runner.get(self.surroundings).run(procedure, environment, **parameters)

    def run_as_ci(self, procedure: str, environment: str, **parameters: object) -> dict[str, Any]:
        """Through command line, Prefect's API and the worker, and follow it: run, link, ending, message, exit_code."""
        words = [word for name, value in parameters.items() for word in ("-p", f"{name}={_as_word(value)}")]
        _, output = self.try_to_run("run", procedure, environment, *words, "--wait", "--json")
        return dict(json.loads(output.splitlines()[-1]))

    @contextmanager
    def taken_down_afterwards(self) -> Iterator[None]:
        """And its folder deleted. A process of its own does it at the end of its input: even if this one is killed."""
        at_the_end = ["/bin/sh", "-c", 'read -r end; exec "$@"', "sh", *COMMAND, "down", "--purge"]
        with subprocess.Popen(
            at_the_end, env=self._variables, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
        ) as down:
            try:
                yield
            finally:
                self.runner.close()
                down.communicate(timeout=WITHIN)
        assert down.returncode == 0

    @property
    def _variables(self) -> dict[str, str]:
        return {**os.environ, "BACKSTOP_STATE": str(self.folder), "BACKSTOP_SCHEDULES": "paused"}

    @property
    def surroundings(self) -> dict[str, str]:
        """The variables that the worker has: the ledger, Prefect, and every reference of the environments."""
        return worker_environment(self.state)

    @contextmanager
    def suspended(self, component: str) -> Iterator[None]:
        """Its process stands still."""
        process = psutil.Process(self.pids()[component])
        process.suspend()
        try:
            yield
        finally:
            process.resume()

    def status(self) -> dict[str, dict[str, Any]]:
        _, output = self.try_to_run("status", "--json")
        return {status["name"]: status for status in json.loads(output)["components"]}


def _as_word(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
