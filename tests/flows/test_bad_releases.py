"""Each bad release goes back, and with it everything that was changed for it."""

import re
import time

import pytest

from tests.flows.production import Production
from tests.flows.records import Records
from tests.running_stack import RunningStack

ERRORS = r"^\d+ of \d+ (requests|probes of /offers) failed.*; 1.0% are allowed\. Put back: the traffic of shop-keen"
SLOW = r"^\d+% of \d+ requests took longer than .*p95 is .*, before it was "
NEVER_HEALTHY = r"^Release v1\.5\.0 was not healthy within 6 s of its start\."
BROKEN = r"^Release v1\.6\.0 failed its verification \(GET /tasks: answers 500; smoke: step 'list tasks' answered 500"


@pytest.mark.parametrize(
    ("version", "why", "met_visitors"),
    [
        pytest.param("v1.3.0", ERRORS, True, id="errors"),
        pytest.param("v1.4.0", SLOW, True, id="slow"),
        pytest.param("v1.5.0", NEVER_HEALTHY, False, id="never healthy"),
        pytest.param("v1.6.0", BROKEN, False, id="broken critical endpoint"),
    ],
)
def test_it_is_rolled_back(
    stack: RunningStack, production: Production, records: Records, version: str, why: str, met_visitors: bool
) -> None:
    (main,) = production.traffic()
    before = {main: 70, production.start("v1.1.0").id: 30}
    production.give_traffic(before)
    tags, began = production.tags(), time.time()

    result = stack.run_procedure("deploy", "shop-keen", version=version)

    assert (result["ending"], result["exit_code"]) == ("Rolled back", 3), result["message"]
    assert re.search(why, result["message"]), result["message"]
    assert production.traffic() == before
    assert production.release(production.newest(version).id).state in ("stopped", "failed")
    assert production.running() == before.keys()
    assert production.tags() == tags, "a tag that was there before stays"
    assert production.unplanned_failures(since=began) == []
    records.assert_settled("shop-keen")
    assert ("shift traffic" in records.effects(result["run"])) is met_visitors
    report = records.report("shop-keen", result["run"])
    assert (report["ending"], report["message"]) == ("Rolled back", result["message"])
