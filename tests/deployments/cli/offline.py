"""`backstop restore --offline` for staging, and the stack of its own that it brings up."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from deployments.apply import ROOT
from tests.running_stack import RunningStack

STAGING = ROOT / "deployments" / "environments" / "shop-staging.yaml"
SECONDS = 240


class Offline:
    def __init__(self, sample: RunningStack, journal: Path) -> None:
        self.stack = RunningStack(journal)
        self._sample = sample

    def begin(self, *words: str, state: str = "no-stack") -> "subprocess.Popen[str]":
        """With what the file refers to, and nothing that leads to the sample's own ledger or Prefect."""
        referred = {name: value for name, value in self._sample.surroundings.items() if name.startswith("SHOP_")}
        return subprocess.Popen(
            [sys.executable, "-m", "deployments.cli", *words],
            env={**os.environ, **referred, "BACKSTOP_STATE": str(self.stack.folder.with_name(state))},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def begin_restore(self, *words: str) -> "subprocess.Popen[str]":
        return self.begin("restore", str(STAGING), "--journal", str(self.stack.folder), *words)

    def restore(self, *words: str) -> tuple[int, str]:
        """Exit code, and what it printed."""
        return _ended(self.begin_restore(*words))

    def run(self, *words: str) -> str:
        """Another command upon its stack; what it printed. It must succeed."""
        code, output = _ended(self.begin(*words, state=self.stack.folder.name))
        assert code == 0, output
        return output

    def processes(self) -> list[psutil.Process]:
        """Of its stack, and what those started."""
        found = []
        for pid in self.stack.pids().values():
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                found += [process, *process.children(recursive=True)]
        return found


def _ended(command: "subprocess.Popen[str]") -> tuple[int, str]:
    with command:
        try:
            output, _ = command.communicate(timeout=SECONDS)
        finally:
            command.kill()
    return command.returncode, output
