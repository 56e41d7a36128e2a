"""What the tests bring up is gone after them, however they end."""

import subprocess
import sys
from pathlib import Path

import pytest

from deployments.stack.postgres_home import PostgresHome
from tests.blocks.platforms.waiting import eventually
from tests.ended import have_ended
from tests.running_stack import WITHIN, RunningStack

IN_A_STACK = """
import sys
from pathlib import Path
from tests.running_stack import RunningStack

stack = RunningStack(Path(sys.argv[1]))
with stack.taken_down_afterwards():
    stack.run("up", "--bare")
    print("up", flush=True)
    sys.stdin.read()
"""


@pytest.mark.drill
def test_a_stack_does_not_outlive_a_process_that_is_killed_in_it(tmp_path: Path) -> None:
    stack = RunningStack(tmp_path / "state")
    own = [sys.executable, "-c", IN_A_STACK, str(stack.folder)]
    with subprocess.Popen(own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout
        assert tests.stdout.readline() == "up\n"
        parts, data = stack.pids().values(), PostgresHome(stack.state).folder
        assert not any(map(have_ended, parts))
        tests.kill()
    eventually(lambda: not stack.folder.exists(), WITHIN)
    assert have_ended(*parts)
    assert not data.exists()
