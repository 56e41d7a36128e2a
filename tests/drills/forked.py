"""Procedures in children that are forked from one prepared process: a run that is killed costs no start."""

import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from tests.drills.watched import Watched
from tests.flows.runner import begin_program


class Forked:
    def __init__(self, variables: Mapping[str, str]) -> None:
        self._process = begin_program("tests.drills.run_forked", variables)
        self.mutant = ""
        """What of `tests/drills/mutants.py` breaks the children; empty: nothing does."""
        self.variables: Mapping[str, str] = {}
        """Others than those that it was begun with, for the children."""
        self._child = 0
        """The pid of the one that runs; 0: none."""

    def run(self, procedure: str, environment: str, watched: Watched | None = None, **parameters: object) -> Any:
        """Its run, ending and message; None when it was killed."""
        self.begin(procedure, environment, watched, **parameters)
        return self.result()

    def begin(self, procedure: str, environment: str, watched: Watched | None = None, **parameters: object) -> int:
        """The pid of its process."""
        variables = {**self.variables, **({"BACKSTOP_LEDGER_URL": watched.ledger} if watched else {})}
        starts = watched.starts if watched else 0
        line = json.dumps([procedure, {"environment": environment, **parameters}, variables, self.mutant, starts])
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        self._child = int(self._process.stdout.readline())
        if watched:
            watched.recorder.pid = self._child
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._child

    def result(self) -> Any:
        """Of what was begun, as `run` gives it back."""
        assert self._process.stdout
        ended = json.loads(self._process.stdout.readline())
        self._child = 0
        return ended

    def close(self) -> None:
        """No child outlives it, a stopped one neither."""
        self._process.kill()
        if self._child:
            with suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGKILL)
        with self._process:
            pass


@contextmanager
def forked_procedures(variables: Mapping[str, str]) -> Iterator[Forked]:
    forked = Forked(variables)
    try:
        yield forked
    finally:
        forked.close()
