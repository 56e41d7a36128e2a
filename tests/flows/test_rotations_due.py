"""What is due is rotated by the worker, once."""

from contextlib import closing

import httpx
import pytest

from blocks.ledger import trail
from blocks.ledger.connection import connect
from tasks.secret_age import ROTATED
from tests.flows.production import Production
from tests.flows.records import Records
from tests.flows.rotated import is_accepted
from tests.prefect_server import ask_for_run, read_environments, wait_for_end
from tests.running_stack import RunningStack

OVERDUE = "shop-overdue"


@pytest.fixture
def only_one_is_due(stack: RunningStack, environments: object, api: httpx.Client) -> None:
    """By the trail, everything else was rotated a moment ago."""
    with closing(connect("tests", stack.layout.database_url("backstop"))) as connection:
        others = read_environments(api)
        del others[OVERDUE]
        for name, applied in others.items():
            run = {"id": f"rotated {name}", "environment": name}
            connection.execute(
                "INSERT INTO run (id, procedure, environment, parameters, requested_by, ending, ended_at)"
                " VALUES (%(id)s, 'rotate-secrets', %(environment)s, '{}', 'tests', 'Done', now())",
                run,
            )
            for secret in (applied.get("secrets") or {}).get("rotated", {}):
                detail = {"secret": secret}
                trail.append(connection, ROTATED, run_id=run["id"], environment=name, actor="tests", detail=detail)


def look(api: httpx.Client) -> str:
    """What it says."""
    asked = ask_for_run(api, "rotations-due", {}).raise_for_status().json()["id"]
    state = wait_for_end(api, asked)
    assert state["type"] == "COMPLETED", state
    artifacts = api.post("/artifacts/filter", json={"artifacts": {"flow_run_id": {"any_": [asked]}}})
    return str(artifacts.raise_for_status().json()[0]["data"])


@pytest.mark.usefixtures("only_one_is_due")
def test_what_is_due_is_rotated_and_nothing_else(production: Production, records: Records, api: httpx.Client) -> None:
    old = production.platform.read_variables()["DATABASE_URL"]

    told = look(api)

    assert "database was never rotated." in told
    assert told.count("rotate-secrets") == 1, told
    run_id = records.wait_until_begun(OVERDUE, "")
    ended = records.wait_for_ending(run_id)
    assert (ended["ending"], ended["requested_by"]) == ("Done", "rotations-due"), ended["message"]
    assert not is_accepted(old)

    assert "rotate-secrets" not in look(api)
    assert records.newest_run(OVERDUE) == run_id
