"""Outages that last: a platform and a store that are away for two minutes, a database server that is restarted."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Timer
from urllib.parse import urlsplit

import pytest

from deployments.stack.postgres_home import PostgresHome
from tests.blocks.platforms.waiting import eventually
from tests.blocks.stores.servers import running_swift
from tests.drills.fault_proxy import FaultProxy
from tests.drills.outside import outside_of
from tests.flows.bucket import ENVIRONMENT as BUCKET
from tests.flows.bucket import write_environment
from tests.flows.production import Production
from tests.flows.records import RUN_SECONDS, Records
from tests.flows.runner import running_procedures
from tests.flows.underway import begin_deploy
from tests.running_stack import RunningStack

pytestmark = [pytest.mark.drill, pytest.mark.timeout(400)]

ENVIRONMENT, NEW = "shop-quick", "v1.1.0"
AWAY_SECONDS = 120


@pytest.mark.parametrize("how", ["refuse", "hang"])
def test_the_way_back_outlasts_a_platform_that_is_away(
    stack: RunningStack, production: Production, records: Records, how: str
) -> None:
    before = production.traffic()
    with outside_of(stack) as outside, running_procedures(stack, **outside.variables) as own:
        begin_deploy(own, records, ENVIRONMENT, NEW)
        away(outside.platform, how)
        ended = own.result()

    assert ended["ending"] == "Rolled back", ended["message"]
    assert production.traffic() == before
    assert production.newest(NEW).state == "stopped"
    records.assert_settled(ENVIRONMENT)


def test_a_front_door_that_hangs_does_not_keep_the_traffic_from_going_back(
    stack: RunningStack, production: Production, records: Records
) -> None:
    before = production.traffic()
    with outside_of(stack) as outside, running_procedures(stack, **outside.variables) as own:
        begin_deploy(own, records, ENVIRONMENT, NEW)
        outside.front_door.hang()
        ended = own.result()

    assert ended["ending"] == "Needs a human", ended["message"]
    assert "gave no whole answer within" in ended["message"]
    assert production.traffic() == before
    records.assert_settled(ENVIRONMENT)


@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGQUIT], ids=["fast", "immediate"])
def test_a_deploy_whose_database_server_is_restarted_ends_well(
    stack: RunningStack, production: Production, records: Records, ended_by: signal.Signals
) -> None:
    """The ledger's, Prefect's and the sample service's at once."""
    before = production.traffic()
    with running_procedures(stack) as own:
        run_id = begin_deploy(own, records, ENVIRONMENT, NEW)
        restart_database_server(stack, ended_by)
        run = records.wait_for_ending(run_id)

    assert run["ending"] in ("Rolled back", "Done"), run["message"]
    assert (production.traffic() == before) is (run["ending"] == "Rolled back")
    records.assert_settled(ENVIRONMENT)


def restart_database_server(stack: RunningStack, ended_by: signal.Signals) -> None:
    file = PostgresHome(stack.state).data / "postmaster.pid"
    os.kill(int(file.read_text().split()[0]), ended_by)
    eventually(lambda: not file.exists(), RUN_SECONDS)
    stack.run("up")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FaultProxy, dict[str, str], str]]:
    """A proxy before an S3 server, the variables that lead through it, and a bucket."""
    with running_swift(tmp_path_factory.mktemp("swift")) as server:
        bucket = server.make_bucket()
        with FaultProxy(urlsplit(server.endpoint).port or 0) as proxy:
            yield proxy, {"S3_ENDPOINT": f"http://127.0.0.1:{proxy.port}", **server.secrets()}, bucket


@pytest.mark.parametrize(("procedure", "how"), [("back-up-database", "hang"), ("restore-and-verify", "refuse")])
def test_a_store_that_is_away_is_not_written_to_and_what_it_holds_stays_good(
    stack: RunningStack,
    records: Records,
    store: tuple[FaultProxy, dict[str, str], str],
    tmp_path: Path,
    procedure: str,
    how: str,
) -> None:
    proxy, variables, bucket = store
    stack.run("apply", str(write_environment(tmp_path, bucket)))
    with running_procedures(stack, **variables) as own:
        assert own.run("back-up-database", BUCKET)["ending"] == "Done"
        newest = records.newest_run(BUCKET)
        own.begin(procedure, BUCKET)
        run_id = records.wait_until_begun(BUCKET, newest)
        mended = away(proxy, how)
        ended = own.result()
        assert ended["ending"] in ("Done", "Refused", "Rolled back"), ended["message"]
        assert mended.wait(RUN_SECONDS * 2)
        proven = own.run("verify-backup", BUCKET)

    assert records.run(run_id)["ending"] == ended["ending"]
    assert proven["ending"] == "Done", proven["message"]
    records.assert_settled(BUCKET)
    records.assert_settled(f"{BUCKET}/backups")


def away(proxy: FaultProxy, how: str) -> Event:
    """For two minutes; the event is set when it is back."""
    mended = Event()

    def mend() -> None:
        proxy.mend()
        mended.set()

    {"refuse": proxy.refuse, "hang": proxy.hang}[how]()
    timer = Timer(AWAY_SECONDS, mend)
    timer.daemon = True
    timer.start()
    return mended
