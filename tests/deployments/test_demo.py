"""`backstop demo`: the whole story, on a stack of its own that ends with it."""

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from deployments.demo.closing import judge_visits
from deployments.shop.visits import Visit
from tests.running_stack import RunningStack

WITHIN = 600
ENDINGS = {
    "v1.1.0 to staging": "Done",
    "v1.1.0 to production": "Done",
    "v1.3.0 to staging": "Done",
    "v1.3.0 to production": "Rolled back",
    "Backup of production": "Done",
    "Proof of that backup": "Done",
    "Backup of staging": "Done",
    "Proof of that one": "Done",
    "Restore of staging": "Done",
    "Rows of the backup, beside": "Done",
    "A disaster, beside production": "Done",
    "v2.0.0 to staging": "Done",
    "v2.0.0 to production": "Done",
    "Health of production": "Done",
}


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    stack = RunningStack(tmp_path_factory.mktemp("demo") / "state")
    with stack.taken_down_afterwards():
        yield stack


@pytest.mark.drill
@pytest.mark.timeout(WITHIN)
def test_interrupted_in_the_middle_of_a_deploy(own_stack: RunningStack) -> None:
    with own_stack.begin("demo") as demo:
        read_until(demo, "start release v1.1.0")
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert left_running(own_stack.folder) == []


@pytest.mark.drill  # CI plays the story itself, once
@pytest.mark.timeout(WITHIN)
def test_tells_the_story_whatever_an_earlier_one_left(own_stack: RunningStack) -> None:
    with own_stack.begin("demo") as demo:
        output, _ = demo.communicate(timeout=WITHIN - 10)
    assert demo.returncode == 0, output
    lines = [re.split(r" {2,}", line.strip()) for line in output.splitlines() if "/runs/flow-run/" in line]
    table = [cells for cells in lines if len(cells) == 4]  # a person is told where to agree before it
    assert {title: ending for title, ending, seconds, link in table} == ENDINGS
    assert ", 0 failed except" in output
    assert left_running(own_stack.folder) == []


def test_only_the_bad_release_may_fail() -> None:
    failed_on_purpose = visit(status=500, version="v1.3.0", fault="v1.3.0")
    assert judge_visits([visit(), failed_on_purpose]).were_well_served
    for failure in (visit(status=500), visit(status=None), visit(status=500, version="v1.3.0")):
        assert not judge_visits([visit(), failed_on_purpose, failure]).were_well_served
    assert not judge_visits([]).were_well_served


def visit(status: int | None = 200, version: str | None = "v1.1.0", fault: str | None = None) -> Visit:
    return Visit(at=0, method="GET", route="/offers", status=status, ms=1, version=version, fault=fault, error=None)


def read_until(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout
    read = []
    for line in process.stdout:
        read.append(line)
        if text in line:
            return
    raise AssertionError("".join(read))


def left_running(folder: Path) -> list[str]:
    """Whatever carries the stack's mark, or works in its folder."""
    return [str(process) for process in psutil.process_iter() if belongs_to(process, folder)]


def belongs_to(process: psutil.Process, folder: Path) -> bool:
    with suppress(psutil.Error, OSError):
        return process.environ().get("BACKSTOP_STACK") == str(folder) or process.cwd().startswith(str(folder))
    return False
