"""A process that runs one procedure after the other, as the worker would, but without starting a new one for each."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.running_stack import RunningStack

WORKERS_PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
EXIT_CODES = {"Done": 0, "Refused": 1, "Rolled back": 3, "Needs a human": 4}


def begin_program(module: str, variables: Mapping[str, str]) -> subprocess.Popen[str]:
    """It has these variables as the worker would, and is spoken to line by line."""
    return subprocess.Popen(
        [sys.executable, "-m", module],
        env={**os.environ, "PATH": WORKERS_PATH, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


class Runner:
    def __init__(self, variables: Mapping[str, str]) -> None:
        self.variables = dict(variables)
        self.process = begin_program("tests.flows.run_here", variables)

    def run(self, procedure: str, environment: str, **parameters: object) -> dict[str, Any]:
        """Its run, ending, message and the exit code that the command line would have."""
        self.begin(procedure, environment, **parameters)
        return self.result()

    def begin(self, procedure: str, environment: str, **parameters: object) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps([procedure, {"environment": environment, **parameters}]) + "\n")
        self.process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """Of what was begun; it comes to its end by the limits of the procedure itself."""
        assert self.process.stdout
        result = dict(json.loads(self.process.stdout.readline()))
        return {**result, "exit_code": EXIT_CODES.get(result["ending"])}  # none yet for what is left to recover

    def close(self) -> None:
        self.process.kill()
        with self.process:
            pass


class KeptRunner:
    """The same runner again and again, for as long as it is fit for the stack. It ends with the tests."""

    def __init__(self) -> None:
        self._runner: Runner | None = None

    def get(self, variables: Mapping[str, str]) -> Runner:
        fit = self._runner and self._runner.process.poll() is None and self._runner.variables == variables
        if not fit:
            self.close()
            self._runner = Runner(variables)
        assert self._runner
        return self._runner

    def close(self) -> None:
        if self._runner:
            self._runner.close()
        self._runner = None


@contextmanager
def running_procedures(stack: "RunningStack", **variables: str) -> Iterator[Runner]:
    """A runner of its own, with variables of its own where a test wants other ones than the worker's."""
    runner = Runner({**stack.surroundings, **variables})
    try:
        yield runner
    finally:
        runner.close()
