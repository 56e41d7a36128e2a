"""What is refused: by the flow itself, by the server, by the command line. Nothing is changed by any of it.

The flow's refusals cost a run each. Those that show what a caller of the API meets are the worker's, the others
follow each other in one process; each test looks at one.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.flows.interface import Interface
from tests.flows.production import Production
from tests.flows.records import Records
from tests.running_stack import WITHIN, RunningStack

ALLOWED = "1 to 64 letters, digits, single dots"
HOSTILE = {
    "shell": "v1; rm -rf /",
    "path": "../x",
    "empty": "",
    "option": "--upload-pack=x",
    "10 kB": "x" * 10_000,
    "null": "v1\x00",
}
CASES: dict[str, tuple[str, dict[str, object], str]] = {
    "unknown version": (
        "deploy",
        {"environment": "shop-quick", "version": "v8.8.8"},
        "release exists: neither a tag nor a commit of that name exists",
    ),
    "not in staging": (
        "deploy",
        {"environment": "shop-production", "version": "v1.2.0"},
        "staging ran it: v1.2.0 was never deployed in shop-staging",
    ),
    "freeze": (
        "deploy",
        {"environment": "shop-unfit", "version": "v1.1.0"},
        "no freeze: frozen until 2101-01-01T00:00:00+00:00: end of the century",
    ),
    "unknown environment": (
        "deploy",
        {"environment": "nowhere", "version": "v1.1.0"},
        "Parameter 'environment' was 'nowhere'; allowed: an applied environment",
    ),
    "environment as a path": (
        "deploy",
        {"environment": "../shop-quick", "version": "v1.1.0"},
        "Parameter 'environment' was '../shop-quick'; allowed: the name of an applied environment",
    ),
    "wrong type": (
        "deploy",
        {"environment": "shop-quick", "version": "v1.1.0", "hotfix": "perhaps"},
        "Parameter 'hotfix' was 'perhaps'; allowed: ",
    ),
    "nothing to return to": (
        "roll-back-deploy",
        {"environment": "shop-quick", "to": "v8.8.8"},
        "Parameter 'to' was 'v8.8.8'; allowed: a version that the platform still knows: v1.0.0",
    ),
    **{
        f"version: {name}": ("deploy", {"environment": "shop-quick", "version": version}, "Parameter 'version' was ")
        for name, version in HOSTILE.items()
        if name not in ("null", "option")
    },
}

UNCHECKED_BY_THE_SERVER = ("unknown environment", "version: shell", "version: 10 kB")


@pytest.fixture(scope="module")
def refused(shared_stack: RunningStack, shared_production: Production) -> Iterator[dict[str, str]]:
    """Case → id of its run, which nobody's schema checked before. Nothing has changed by any of them."""
    shared_stack.mend()
    shared_production.reset()
    before = shared_production.look()
    yield _run_by_worker(shared_stack) | _run_in_one_process(shared_stack)
    assert shared_production.look() == before


def _run_by_worker(stack: RunningStack) -> dict[str, str]:
    runs = {}
    with closing(Interface(stack)) as interface:
        for name in UNCHECKED_BY_THE_SERVER:
            procedure, parameters, _ = CASES[name]
            answer = interface.create_run(procedure, parameters, enforced=False)
            runs[name] = str(answer.raise_for_status().json()["id"])
    for run_id in runs.values():
        Records(stack).wait_for_ending(run_id)
    return runs


def _run_in_one_process(stack: RunningStack) -> dict[str, str]:
    names = [name for name in CASES if name not in UNCHECKED_BY_THE_SERVER]
    done = subprocess.run(
        [sys.executable, "-m", "tests.flows.run_here"],
        input="".join(json.dumps(CASES[name][:2]) + "\n" for name in names),
        env={**os.environ, **stack.surroundings},
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=True,
    )
    ended = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {name: one["run"] for name, one in zip(names, ended, strict=True)}


@pytest.mark.parametrize("case", CASES)
def test_the_flow_refuses(refused: dict[str, str], records: Records, interface: Interface, case: str) -> None:
    run = records.run(refused[case])
    assert run["ending"] == "Refused", run["message"]
    assert CASES[case][2] in run["message"]
    assert run["message"].endswith("Nothing was changed.")
    assert len(run["message"]) < 500
    if case.startswith("version: "):
        assert ALLOWED in run["message"]
    assert records.effects(run["id"]) == []
    state = interface.read_run(run["id"])["state"]
    assert (state["name"], state["message"]) == ("Refused", run["message"])


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        pytest.param({"environment": "nowhere", "version": "v1.1.0"}, "environment", id="environment"),
        pytest.param({"environment": "shop-quick", "version": "v1.1.0", "force": True}, "force", id="extra"),
        pytest.param({"environment": "shop-quick"}, "version", id="missing"),
        *(
            pytest.param({"environment": "shop-quick", "version": version}, "version", id=name)
            for name, version in HOSTILE.items()
        ),
    ],
)
def test_the_server_refuses(interface: Interface, parameters: dict[str, object], named: str) -> None:
    answer = interface.create_run("deploy", parameters)
    assert answer.status_code == 409
    assert f"'{named}'" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("environment", "parameter", "code", "said"),
    [
        pytest.param("nowhere", "version=v1.1.0", 1, "'environment' was 'nowhere'; allowed: shop-", id="environment"),
        pytest.param("shop-quick", "force=yes", 2, "'force=yes' is no parameter of deploy. There are: ", id="extra"),
        pytest.param("shop-quick", "hotfix=perhaps", 1, "'hotfix' was 'perhaps'; allowed: ", id="wrong type"),
        *(
            pytest.param("shop-quick", f"version={version}", 1, "'version'", id=name)
            for name, version in HOSTILE.items()
            if name != "null"  # no command line can carry it
        ),
    ],
)
def test_the_command_line_refuses(stack: RunningStack, environment: str, parameter: str, code: int, said: str) -> None:
    ended_with, output = stack.try_to_run("run", "deploy", environment, "-p", parameter, "--wait")
    assert ended_with == code, output
    assert said in output
    assert "Traceback" not in output
    assert len(output) < 1000


def test_a_plan_changes_nothing(
    stack: RunningStack, production: Production, records: Records, interface: Interface
) -> None:
    before = production.look()
    words = ("run", "deploy", "shop-quick", "-p", "version=v2.1.0", "-p", "commit=main", "--plan", "--json")
    code, output = stack.try_to_run(*words)

    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    assert (code, result["ending"]) == (0, "Done"), output
    assert result["message"].endswith("was made. Nothing was changed.")
    assert production.look() == before
    assert records.effects(result["run"]) == []
    plan = interface.artifacts(result["run"])["plan"]
    assert "**v1.0.0** → **v2.1.0**" in plan
    assert "v2.1.0: Good: not tagged yet, main stands here." in plan
    assert records.activity("shop-quick") is None
