"""A deploy that is killed with SIGKILL before and after every write into the ledger: all is as before, or done."""

import os
from collections.abc import Iterator

import psutil
import pytest

from tests.blocks.platforms.waiting import eventually
from tests.drills.forked import Forked, forked_procedures
from tests.drills.killing import Practice, kill, moments_of, read_writes
from tests.flows.production import Production
from tests.flows.records import Records
from tests.running_stack import RunningStack

ENVIRONMENT, VERSION = "shop-quick", "v1.1.0"
SEED = int(os.environ.get("BACKSTOP_DRILL_SEED", "1"))


@pytest.fixture(scope="module")
def forked(shared_stack: RunningStack) -> Iterator[Forked]:
    shared_stack.run("up")
    with forked_procedures(shared_stack.surroundings) as forked:
        yield forked


@pytest.fixture
def alone(stack: RunningStack) -> Iterator[None]:
    """Without the supervisor: what it would do is done at once."""
    supervisor = psutil.Process(stack.pids()["supervisor"])
    supervisor.suspend()
    yield
    supervisor.resume()


@pytest.fixture
def deploy(production: Production) -> Practice:
    def look() -> object:
        return production.traffic(), production.running(), production.tags()

    def prepare() -> object:
        production.reset()
        return look()

    def is_done() -> bool:
        eventually(lambda: production.answering_version() == VERSION)
        return list(production.traffic().values()) == [100]

    return Practice("deploy", ENVIRONMENT, {"version": VERSION}, prepare, look, is_done)


@pytest.mark.drill
@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("alone")
def test_at_every_moment(stack: RunningStack, forked: Forked, records: Records, deploy: Practice) -> None:
    writes = read_writes(stack, forked, deploy)
    for moment in moments_of(writes, None, SEED):
        print(kill(stack, forked, records, deploy, moment), flush=True)


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("alone")
def test_at_some_moments(stack: RunningStack, forked: Forked, records: Records, deploy: Practice) -> None:
    writes = read_writes(stack, forked, deploy)
    for moment in moments_of(writes, 8, SEED):
        print(kill(stack, forked, records, deploy, moment), flush=True)
