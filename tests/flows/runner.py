"""A process that runs one procedure after the other, with variables of its own where a test wants other ones."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.running_stack import RunningStack


@dataclass(frozen=True)
class Runner:
    process: "subprocess.Popen[str]"

    def run(self, procedure: str, environment: str, **parameters: object) -> dict[str, Any]:
        """Its run, ending and message."""
        self.begin(procedure, environment, **parameters)
        return self.result()

    def begin(self, procedure: str, environment: str, **parameters: object) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps([procedure, {"environment": environment, **parameters}]) + "\n")
        self.process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """Of what was begun; it comes to its end by the limits of the procedure itself."""
        assert self.process.stdout
        return dict(json.loads(self.process.stdout.readline()))


@contextmanager
def running_procedures(stack: RunningStack, **variables: str) -> Iterator[Runner]:
    """As the worker would run them, but for these variables."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.flows.run_here"],
        env={**os.environ, **stack.surroundings, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield Runner(process)
        finally:
            process.kill()
