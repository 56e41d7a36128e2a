"""A run while what it talks to is away, hangs, or does what it was asked and tells nobody: done, put back, or told."""

import json
import os
import signal
from collections.abc import Iterator

import psutil
import psycopg
import pytest

from blocks.platforms.interface import Release
from tests.blocks.platforms.waiting import eventually
from tests.blocks.stores.faults import Fault
from tests.databases.small_disk import small_disk
from tests.drills.outside import Outside, outside_of
from tests.flows.production import GOOD, Production
from tests.flows.records import RUN_SECONDS, Records
from tests.flows.runner import Runner, running_procedures
from tests.flows.shop_database import ENVIRONMENT as STAGING
from tests.flows.underway import begin_deploy
from tests.running_stack import RunningStack

QUICK, SLOW = "shop-quick", "shop-slow"
"""The one watches for seconds; the other for as long as a test needs."""
NEW, BAD = "v1.1.0", "v1.3.0"
ALWAYS = 10_000


@pytest.fixture(scope="module")
def shared_outside(shared_stack: RunningStack, environments: object) -> Iterator[Outside]:
    with outside_of(shared_stack) as outside:
        yield outside


@pytest.fixture
def outside(shared_outside: Outside) -> Iterator[Outside]:
    """All passes, but for what a test breaks."""
    yield shared_outside
    shared_outside.mend()


@pytest.fixture(scope="module")
def runner(shared_stack: RunningStack, shared_outside: Outside) -> Iterator[Runner]:
    with running_procedures(shared_stack, **shared_outside.variables) as runner:
        yield runner


def made_by(production: Production, run_id: str) -> list[Release]:
    return [release for release in production.platform.read_releases() if release.started_by == run_id]


def test_what_was_done_and_not_answered_is_not_done_again(
    runner: Runner, outside: Outside, production: Production, records: Records
) -> None:
    outside.requests.faults += [
        Fault("lose answer", "POST", "/releases"),
        Fault("lose answer", "PUT", "/traffic", ALWAYS),
    ]
    ended = runner.run("deploy", QUICK, version=NEW)

    assert ended["ending"] == "Done", ended["message"]
    (made,) = made_by(production, ended["run"])
    assert production.traffic() == {made.id: 100}
    assert outside.requests.asked("PUT", "/traffic") == 2, "one for each step"
    records.assert_settled(QUICK)


def test_calls_that_fail_once_or_arrive_twice_are_ridden_through(
    runner: Runner, outside: Outside, production: Production, records: Records
) -> None:
    outside.requests.faults += [
        Fault("500", "POST", "/releases"),
        Fault("twice", "POST", "/releases"),
        Fault("429", "PUT", "/traffic"),
        Fault("drop request", "PUT", "/traffic"),
        Fault("twice", "PUT", "/traffic"),
    ]
    ended = runner.run("deploy", QUICK, version=NEW)

    assert ended["ending"] == "Done", ended["message"]
    assert [fault for fault in outside.requests.faults if fault.times] == []
    (made,) = made_by(production, ended["run"])
    assert production.traffic() == {made.id: 100}
    records.assert_settled(QUICK)


def test_a_release_that_was_started_without_an_answer_is_found_and_stopped(
    runner: Runner, outside: Outside, production: Production, records: Records
) -> None:
    before = production.traffic()
    outside.requests.faults.append(Fault("lose answer", "POST", "/releases", ALWAYS))

    ended = runner.run("deploy", QUICK, version=NEW)

    assert ended["ending"] == "Rolled back", ended["message"]
    assert outside.requests.asked("POST", "/releases") > 1
    (made,) = made_by(production, ended["run"])
    assert made.state == "stopped"
    assert production.traffic() == before
    records.assert_settled(QUICK)


def test_the_way_back_waits_for_a_platform_that_is_away(
    runner: Runner, outside: Outside, production: Production, records: Records
) -> None:
    before = production.traffic()
    begin_deploy(runner, records, QUICK, NEW)
    outside.platform.refuse()
    eventually(lambda: outside.platform.turned_away >= 7, RUN_SECONDS)
    assert production.traffic() != before
    outside.platform.mend()
    ended = runner.result()

    assert ended["ending"] == "Rolled back", ended["message"]
    assert production.traffic() == before
    assert production.newest(NEW).state == "stopped"
    records.assert_settled(QUICK)


def test_a_front_door_that_is_away_is_told_and_the_traffic_is_back_all_the_same(
    runner: Runner, outside: Outside, production: Production, records: Records
) -> None:
    before = production.traffic()
    begin_deploy(runner, records, QUICK, NEW)
    outside.front_door.refuse()
    ended = runner.result()

    assert ended["ending"] == "Needs a human", ended["message"]
    assert "The service failed its verification" in ended["message"]
    assert production.traffic() == before
    records.assert_settled(QUICK)


def test_a_release_that_stands_still_under_traffic_loses_it(
    runner: Runner, outside: Outside, production: Production, records: Records
) -> None:
    before = production.traffic()
    begin_deploy(runner, records, SLOW, NEW)
    release = process_listening(production.newest(NEW).url)
    release.suspend()
    ended = runner.result()
    release.resume()  # it was asked to end

    assert ended["ending"] == "Rolled back", ended["message"]
    assert production.traffic() == before
    assert production.answering_version() == GOOD
    eventually(lambda: production.newest(NEW).state == "stopped")
    records.assert_settled(SLOW)


def process_listening(url: str | None) -> psutil.Process:
    port = int((url or "").rpartition(":")[2])
    listening = (one for one in psutil.net_connections("tcp") if one.status == psutil.CONN_LISTEN)
    return psutil.Process(next(one.pid for one in listening if one.laddr[1:] == (port,) and one.pid))


def test_prefect_killed_under_a_bad_release_keeps_nobody_from_putting_it_back(
    stack: RunningStack, production: Production, records: Records
) -> None:
    before, newest = production.traffic(), records.newest_run(QUICK)
    stack.run("run", "deploy", QUICK, "-p", f"version={BAD}")
    run_id = records.wait_until_watching(QUICK, newest)
    os.kill(stack.pids()["server"], signal.SIGKILL)
    run = records.wait_for_ending(run_id)

    assert run["ending"] == "Rolled back", run["message"]
    assert "% are allowed" in run["message"], "the watch found it, by its visitors or by a probe"
    assert production.traffic() == before
    assert records.undos(run_id) == ["undone"] * len(records.undos(run_id))
    records.assert_settled(QUICK)


def test_a_process_that_was_stopped_is_taken_over_and_does_nothing_more(
    stack: RunningStack, production: Production, records: Records
) -> None:
    before = production.traffic()
    with running_procedures(stack) as own:
        run_id = begin_deploy(own, records, SLOW, NEW)
        os.kill(own.process.pid, signal.SIGSTOP)
        assert production.traffic() != before
        make_silent(stack, SLOW)
        run = records.wait_for_ending(run_id)
        records.assert_settled(SLOW)
        effects, looked = records.effects(run_id), production.look()

        os.kill(own.process.pid, signal.SIGCONT)
        assert own.process.stdout
        ended = json.loads(own.process.stdout.readline())

    assert (run["ending"], ended["ending"]) == ("Rolled back", "Left to recover"), ended["message"]
    assert production.traffic() == before
    assert (records.effects(run_id), production.look()) == (effects, looked)
    assert records.run(run_id)["message"] == run["message"]
    records.assert_settled(SLOW)


def make_silent(stack: RunningStack, environment: str) -> None:
    """As if the holder had not beaten for a minute: a test need not wait for that."""
    with psycopg.connect(stack.layout.database_url("backstop"), connect_timeout=5) as ledger:
        ledger.execute("UPDATE environment SET beat_at = now() - interval '1 minute' WHERE name = %s", [environment])


@pytest.mark.parametrize(("variable", "told"), [("SHOP_BACKUPS", "Make room"), ("TMPDIR", "No space left on device")])
def test_a_full_disk_leaves_no_backup(stack: RunningStack, records: Records, variable: str, told: str) -> None:
    with small_disk(mebibytes=1) as small:
        (small / "ballast").write_bytes(bytes((1 << 20) - 8192))
        with running_procedures(stack, **{variable: str(small)}) as own:
            ended = own.run("back-up-database", STAGING)
        assert list(small.rglob("manifest.json")) == []

    assert ended["ending"] == "Refused", ended["message"]
    assert told in ended["message"]
    assert "Nothing was changed." in ended["message"]
    records.assert_settled(f"{STAGING}/backups")
