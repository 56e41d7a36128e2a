"""A good release: it gets there, step by step, and everything about it is written down."""

import time
from datetime import UTC, datetime

from tests.flows.interface import Interface
from tests.flows.production import Production
from tests.flows.records import Records
from tests.running_stack import RunningStack

PHASES = [
    "plan",
    "measure baseline",
    "start the release",
    "verify release",
    "50 % of the traffic",
    "100 % of the traffic",
    "verify service",
]


def test_a_good_release_with_a_migration_gets_all_traffic(
    stack: RunningStack, production: Production, records: Records, interface: Interface
) -> None:
    older = next(iter(production.traffic()))
    previous = production.start("v1.1.0")
    production.give_traffic({previous.id: 100})
    began = time.time()

    result = stack.run_as_ci("deploy", "shop-quick", version="v1.2.0", requested_by="Ada")

    assert (result["ending"], result["exit_code"]) == ("Done", 0), result["message"]
    assert result["message"] == "v1.2.0 has all traffic of shop-quick and was verified; it replaced v1.1.0."
    new = production.newest("v1.2.0")
    assert production.traffic() == {new.id: 100}
    assert production.answering_version() == "v1.2.0"
    assert production.release(previous.id).state == "running", "the previous release is kept warm"
    assert production.release(older).state == "stopped"
    assert production.unplanned_failures(since=began) == []
    records.assert_settled("shop-quick")

    run = interface.read_run(result["run"])
    assert (run["name"], run["state"]["name"]) == ("deploy v1.2.0 to shop-quick", "Done")
    artifacts = interface.artifacts(result["run"])
    assert {"plan", "monitor", "report"} <= artifacts.keys()
    assert "| staging ran it |" not in artifacts["plan"]
    assert "| rollback target known | ✓ | v1.1.0 |" in artifacts["plan"]
    assert artifacts["report"].count("data:image/svg+xml") == 2

    report = records.report("shop-quick", result["run"])
    assert (report["ending"], report["version"], report["requested_by"]) == ("Done", "v1.2.0", "Ada")
    assert [phase["phase"] for phase in report["phases"]] == PHASES
    assert [mark["what"] for mark in report["marks"]] == ["50 %", "100 %"]
    assert report["readings"]
    entry = records.changelog("shop-quick")[-1].read_text()
    assert entry.startswith(f"## v1.2.0 · {datetime.now(UTC):%Y-%m-%d}")
    assert "Replaced v1.1.0, asked for by Ada." in entry
    assert records.effects(result["run"]) == ["start release", "shift traffic", "shift traffic", "stop release"]


def test_an_untagged_commit_is_tagged(
    stack: RunningStack, production: Production, records: Records, own_tags: None
) -> None:
    result = stack.run_as_ci("deploy", "shop-quick", version="v2.1.0", commit="main")

    assert result["ending"] == "Done", result["message"]
    assert production.tags()["v2.1.0"] == production.commit("main")
    assert production.git("tag", "--list", "--format=%(contents:subject)", "v2.1.0") == "Release v2.1.0"
    assert production.answering_version() == "v2.1.0"
    records.assert_settled("shop-quick")


def test_the_tag_of_a_release_that_was_rolled_back_is_withdrawn(
    stack: RunningStack, production: Production, records: Records, own_tags: None
) -> None:
    before, tags = production.traffic(), production.tags()

    result = stack.run_as_ci("deploy", "shop-quick", version="v9.9.9", commit=production.commit("v1.1.0"))

    assert (result["ending"], result["exit_code"]) == ("Rolled back", 3), result["message"]
    assert "answers version v1.1.0, not v9.9.9" in result["message"]
    assert "the tag v9.9.9" in result["message"]
    assert production.tags() == tags
    assert production.traffic() == before
    assert production.newest("v9.9.9").state == "stopped"
    records.assert_settled("shop-quick")
