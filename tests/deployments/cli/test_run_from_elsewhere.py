"""`backstop run` from a machine that reaches Prefect's API and nothing else."""

import os
import subprocess
import sys

import pytest

from deployments.cli.exit_codes import ExitCode
from tests.running_stack import RunningStack


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["health-check", "shop-staging"], ExitCode.DONE, "Done: All"),
        (["deploy", "shop-staging", "-p", "version=v0.0.9"], ExitCode.REFUSED, "neither a tag nor a commit"),
    ],
)
def test_without_the_ledger_it_tells_the_ending_that_prefect_knows(
    stack: RunningStack, words: list[str], code: ExitCode, told: str
) -> None:
    reachable = {name: stack.surroundings[name] for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING")}
    done = subprocess.run(
        [sys.executable, "-m", "deployments.cli", "run", *words, "--wait"],
        env={"PATH": os.environ["PATH"], **reachable},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert told in done.stdout
