"""A deploy that is in the middle of its rollout."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from subprocess import Popen
from typing import Any

from tests.flows.interface import Interface
from tests.flows.records import RUN_SECONDS, Records
from tests.flows.runner import Runner
from tests.running_stack import RunningStack


@dataclass(frozen=True)
class UnderWay:
    run_id: str
    command: Popen[str]
    """`backstop run … --wait`, which follows it."""

    def result(self) -> dict[str, Any]:
        """Wait for its ending: run, link, ending, message, exit_code."""
        output, _ = self.command.communicate(timeout=RUN_SECONDS)
        result = dict(json.loads(output.splitlines()[-1]))
        assert result["run"] == self.run_id
        assert result["exit_code"] == self.command.returncode
        return result


@contextmanager
def deploy_under_way(
    stack: RunningStack, records: Records, interface: Interface, environment: str, version: str
) -> Iterator[UnderWay]:
    """A deploy that watches its first step. One that the test leaves running is cancelled."""
    before = records.newest_run(environment)
    words = ("-p", f"version={version}", "-p", "requested_by=Ada", "--wait", "--json")
    with stack.begin("run", "deploy", environment, *words) as command:
        try:
            yield UnderWay(records.wait_until_watching(environment, before), command)
        finally:
            command.kill()
            newest = records.newest_run(environment)
            if newest != before and not records.run(newest)["ending"]:
                interface.cancel(newest)
                records.wait_for_ending(newest)


def begin_deploy(runner: Runner, records: Records, environment: str, version: str) -> str:
    """Its id, once it watches its first step."""
    before = records.newest_run(environment)
    runner.begin("deploy", environment, version=version)
    return records.wait_until_watching(environment, before)
