"""Procedures in children that are forked from one prepared process: a run that is killed costs no start."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.drills.ledger_proxy import LedgerProxy
from tests.flows.runner import begin_program


class Forked:
    def __init__(self, variables: Mapping[str, str]) -> None:
        self._process = begin_program("tests.drills.run_forked", variables)

    def run(self, procedure: str, environment: str, proxy: LedgerProxy | None = None, **parameters: object) -> Any:
        """Its run, ending and message; None when it was killed. With a proxy it reaches the ledger through that."""
        variables = {"BACKSTOP_LEDGER_URL": proxy.url} if proxy else {}
        line = json.dumps([procedure, {"environment": environment, **parameters}, variables])
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        if proxy:
            proxy.pid = pid
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        with self._process:
            pass


@contextmanager
def forked_procedures(variables: Mapping[str, str]) -> Iterator[Forked]:
    forked = Forked(variables)
    try:
        yield forked
    finally:
        forked.close()
