"""The health check: what is well, what is not, and what to do about it. It changes nothing."""

import json
import signal

import psutil

from tests.blocks.platforms.waiting import eventually
from tests.ended import have_ended
from tests.flows.interface import Interface
from tests.flows.production import Production
from tests.flows.records import Records
from tests.running_stack import RunningStack

NAMES = [
    "app",
    "app → database",
    "app → redis",
    "database",
    "redis",
    "GET /version",
    "GET /tasks",
    "payment webhook",
]
HINTS = {
    "app": "Look for load or slow queries.",
    "app → redis": "The application cannot use its redis.",
    "redis": "Is Redis up, and its password right?",
    "payment webhook": "Is the signing secret the provider's?",
}


def test_all_is_well(stack: RunningStack, production: Production, records: Records, interface: Interface) -> None:
    before = production.look()

    result = stack.run_as_ci("health-check", "shop-quick")

    assert (result["ending"], result["exit_code"]) == ("Done", 0), result["message"]
    assert result["message"] == f"All {len(NAMES)} checks of shop-quick passed."
    checks = records.report("shop-quick", result["run"])["checks"]
    assert [check["name"] for check in checks] == NAMES
    assert all(check["passed"] and check["milliseconds"] > 0 for check in checks)
    rows = json.loads(interface.artifacts(result["run"])["health"])
    assert [row["check"] for row in rows] == NAMES
    assert records.effects(result["run"]) == []
    assert production.look() == before


def test_what_is_ill_is_named_with_a_hint(
    stack: RunningStack, production: Production, records: Records, interface: Interface
) -> None:
    before = production.look()
    cache = psutil.Process(stack.pids()["redis"])
    cache.send_signal(signal.SIGKILL)
    eventually(lambda: have_ended(cache))

    result = stack.run_as_ci("health-check", "shop-unfit")

    assert (result["ending"], result["exit_code"]) == ("Refused", 1), result["message"]
    assert result["message"].startswith(f"{len(HINTS)} of {len(NAMES)} checks failed: app answered after ")
    assert result["message"].endswith("Nothing was changed.")
    checks = {check["name"]: check for check in records.report("shop-unfit", result["run"])["checks"]}
    assert {name: check["hint"] for name, check in checks.items() if not check["passed"]} == HINTS
    assert checks["payment webhook"]["detail"] == "step 'payment webhook' answered 400, not 200"
    rows = json.loads(interface.artifacts(result["run"])["health"])
    assert {row["check"] for row in rows if row["passed"] == "NO"} == HINTS.keys()
    assert records.effects(result["run"]) == []
    assert production.look() == before
