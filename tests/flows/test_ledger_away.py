"""A deploy whose ledger does not answer: it does not begin, or goes no further, and is put back."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.blocks.platforms.waiting import eventually
from tests.drills.fault_proxy import FaultProxy
from tests.flows.production import Production
from tests.flows.records import RUN_SECONDS, Records
from tests.running_stack import RunningStack

ENVIRONMENT = "shop-slow"


@pytest.fixture
def proxy(stack: RunningStack) -> Iterator[FaultProxy]:
    """Between the flow and its ledger. Everybody else reaches the ledger directly."""
    with FaultProxy(stack.layout.ports["postgres"]) as proxy:
        yield proxy


@contextmanager
def deploying(stack: RunningStack, proxy: FaultProxy) -> Iterator[subprocess.Popen[str]]:
    """A deploy of v1.1.0 in a process of its own, as the worker would run it, its ledger behind the proxy."""
    ledger = stack.surroundings["BACKSTOP_LEDGER_URL"]
    behind_proxy = ledger.replace(f":{stack.layout.ports['postgres']}/", f":{proxy.port}/")
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.flows.run_here"],
        env={**os.environ, **stack.surroundings, "BACKSTOP_LEDGER_URL": behind_proxy},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        try:
            assert process.stdin
            process.stdin.write(json.dumps(["deploy", {"environment": ENVIRONMENT, "version": "v1.1.0"}]) + "\n")
            process.stdin.flush()
            yield process
        finally:
            process.kill()


def ending_of(process: subprocess.Popen[str]) -> dict[str, str]:
    output, _ = process.communicate(timeout=RUN_SECONDS)
    return dict(json.loads(output.splitlines()[-1]))


def test_without_a_ledger_nothing_begins(
    stack: RunningStack, production: Production, records: Records, proxy: FaultProxy
) -> None:
    before, newest = production.look(), records.newest_run(ENVIRONMENT)
    proxy.refuse()

    with deploying(stack, proxy) as process:
        ended = ending_of(process)

    assert ended["ending"] == "Refused"
    assert ended["message"].startswith("The ledger does not answer: ")
    assert "nothing was changed" in ended["message"]
    assert proxy.turned_away
    assert production.look() == before
    assert records.newest_run(ENVIRONMENT) == newest


@pytest.mark.drill
def test_a_ledger_that_goes_away_for_a_moment_ends_the_deploy_which_puts_itself_back(
    stack: RunningStack, production: Production, records: Records, proxy: FaultProxy
) -> None:
    before = production.traffic()
    newest = records.newest_run(ENVIRONMENT)
    with stack.suspended("supervisor"), deploying(stack, proxy) as process:
        run_id = records.wait_until_watching(ENVIRONMENT, newest)
        looked, effects = production.look(), records.effects(run_id)

        proxy.refuse()
        eventually(lambda: proxy.turned_away >= 5, RUN_SECONDS)
        assert process.poll() is None
        assert production.look() == looked, "nothing is changed while nothing can be written down"
        assert records.effects(run_id) == effects

        proxy.mend()
        ended = ending_of(process)

    assert ended["ending"] == "Rolled back", ended["message"]
    run = records.run(run_id)
    assert (run["ending"], run["message"]) == ("Rolled back", ended["message"])
    assert "ledger is gone" in run["message"]
    assert records.effects(run_id)[len(effects) :] == ["shift traffic", "stop release"]
    assert production.traffic() == before
    assert production.newest("v1.1.0").state == "stopped"
    records.assert_settled(ENVIRONMENT)


def test_a_run_that_lost_its_ledger_for_long_is_put_back_by_recover_and_does_nothing_more(
    stack: RunningStack, production: Production, records: Records, proxy: FaultProxy
) -> None:
    before = production.traffic()
    newest = records.newest_run(ENVIRONMENT)
    with deploying(stack, proxy) as process:
        run_id = records.wait_until_watching(ENVIRONMENT, newest)
        effects = records.effects(run_id)
        proxy.refuse()
        ending = records.wait_for_ending(run_id)
        assert process.poll() is None
        proxy.mend()
        ended = ending_of(process)

    assert ending["ending"] == "Rolled back", ending["message"]
    assert records.run(run_id)["ending"] == "Rolled back"
    assert ended["ending"] == "Left to recover", ended["message"]
    assert records.effects(run_id) == effects
    assert production.traffic() == before
    records.assert_settled(ENVIRONMENT)
