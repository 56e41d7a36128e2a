"""`backstop run` from a machine that reaches Prefect's API and, here, nothing else."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from deployments.cli.exit_codes import ExitCode
from tests.blocks.platforms.waiting import eventually
from tests.blocks.stores.faults import Fault, running_proxy
from tests.blocks.stores.faults import FaultProxy as RequestFaults
from tests.drills.fault_proxy import FaultProxy
from tests.flows.records import Records
from tests.running_stack import RunningStack

SECONDS = 60
CHECK = ("health-check", "shop-staging")


@pytest.fixture
def requests(stack: RunningStack) -> Iterator[RequestFaults]:
    """What goes wrong with single requests to Prefect's server."""
    with running_proxy(stack.layout.api_url.removesuffix("/api")) as proxy:
        yield proxy


def begin(stack: RunningStack, server: str, *words: str) -> "subprocess.Popen[str]":
    login = stack.surroundings["PREFECT_API_AUTH_STRING"]
    return subprocess.Popen(
        [sys.executable, "-m", "deployments.cli", "run", *words],
        env={"PATH": os.environ["PATH"], "PREFECT_API_URL": f"{server}/api", "PREFECT_API_AUTH_STRING": login},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(stack: RunningStack, server: str, *words: str) -> tuple[int, str, str]:
    with begin(stack, server, *words) as command:
        try:
            told, complaints = command.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            command.kill()
            raise
    return command.returncode, told, complaints


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (CHECK, ExitCode.DONE, "Done: All"),
        (("deploy", "shop-staging", "-p", "version=v0.0.9"), ExitCode.REFUSED, "neither a tag nor a commit"),
    ],
)
def test_without_the_ledger_it_tells_the_ending_that_prefect_knows(
    stack: RunningStack, words: tuple[str, ...], code: ExitCode, told: str
) -> None:
    server = stack.layout.api_url.removesuffix("/api")
    ended, output, complaints = run(stack, server, *words, "--wait")

    assert ended == code, complaints
    assert told in output


def test_a_server_that_is_away_for_a_while_or_answers_with_an_error_of_its_own_is_waited_for(
    stack: RunningStack, requests: RequestFaults
) -> None:
    requests.faults += [
        Fault("500", "GET", "/flow_runs/", times=2),
        Fault("drop request", "POST", "/artifacts/filter"),
        Fault("lose answer", "GET", "/flow_runs/"),
    ]
    with (
        FaultProxy(urlsplit(requests.endpoint).port or 0) as server,
        begin(stack, f"http://127.0.0.1:{server.port}", *CHECK, "--wait") as command,
    ):
        eventually(lambda: requests.asked("GET", "/flow_runs/") > 0, SECONDS)
        server.refuse()
        eventually(lambda: server.turned_away >= 2, SECONDS)
        server.mend()
        told, complaints = command.communicate(timeout=SECONDS)

    assert command.returncode == ExitCode.DONE, complaints
    assert "Prefect's server does not answer; it is asked again" in told
    assert "Done: All" in told
    assert [fault for fault in requests.faults if fault.times] == []


def test_a_run_that_may_have_begun_is_found_by_the_key_that_is_named(
    stack: RunningStack, records: Records, requests: RequestFaults
) -> None:
    before = records.newest_run("shop-staging")
    requests.faults.append(Fault("lose answer", "POST", "/create_flow_run"))
    code, told, complaints = run(stack, requests.endpoint, *CHECK, "--wait")

    assert (code, told) == (ExitCode.TIMEOUT, "")
    assert "What became of the run cannot be told from here." in complaints
    begun = records.wait_until_begun("shop-staging", before)
    key = re.findall(r"--idempotency-key (\S+)", complaints)
    code, told, complaints = run(stack, requests.endpoint, *CHECK, "--wait", "--idempotency-key", *key)

    assert code == ExitCode.DONE, complaints
    assert f"/runs/flow-run/{begun}" in told
