"""Back to a point in time: a clone of the server comes in its place, and the application can go back."""

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.blocks.platforms.waiting import eventually
from tests.flows.interface import Interface
from tests.flows.on_cloud_sql import ENVIRONMENT, VARIABLE, OnCloudSql, shop_on_cloud_sql
from tests.flows.records import RUN_SECONDS, Records
from tests.flows.runner import running_procedures
from tests.flows.shop_database import EVERYTHING, NAME, ShopDatabase
from tests.running_stack import RunningStack
from tests.standins.cloud_sql import INSTANCE

BEFORE, SINCE = (f"written {when} {uuid4()}" for when in ("before", "since"))


@pytest.fixture(scope="module")
def shared(shared_stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnCloudSql]:
    shared_stack.mend()
    with shop_on_cloud_sql(shared_stack, tmp_path_factory.mktemp("cloud-sql")) as on_cloud_sql:
        yield on_cloud_sql


@pytest.fixture(scope="module")
def moment(shared: OnCloudSql) -> str:
    """The same for all these tests: one task was written before it, one since."""
    shop = ShopDatabase(shared.stack)
    shop.write_task(BEFORE)
    moment = shared.copies.remember()
    shop.write_task(SINCE)
    return moment.isoformat()


@pytest.fixture
def on_cloud_sql(stack: RunningStack, shared: OnCloudSql, moment: str) -> Iterator[OnCloudSql]:
    yield shared
    shared.mend()


def go_back(on_cloud_sql: OnCloudSql, moment: str, **parameters: object) -> dict[str, Any]:
    wanted = {"point_in_time": moment, "accept_loss": EVERYTHING} | parameters
    return on_cloud_sql.stack.run_procedure("restore-and-verify", ENVIRONMENT, **wanted)


def write_through_service(on_cloud_sql: OnCloudSql, title: str) -> None:
    layout = on_cloud_sql.stack.layout
    with httpx.Client(base_url=layout.front_url("staging"), timeout=5, trust_env=False) as client:
        login = {"name": "demo", "password": layout.credentials.staging.demo_password}
        token = client.post("/login", json=login).raise_for_status().json()["token"]
        headers = {"Authorization": f"Bearer {token}"}
        client.post("/tasks", json={"title": title}, headers=headers).raise_for_status()


def test_the_application_moves_to_the_clone_and_comes_back(
    on_cloud_sql: OnCloudSql, moment: str, shop: ShopDatabase, records: Records, interface: Interface
) -> None:
    variables, may_connect = on_cloud_sql.platform.read_variables(), shop.read().may_connect
    on_cloud_sql.copies.old_passwords.append(NAME)

    planned = go_back(on_cloud_sql, moment, plan_only=True)
    assert planned["ending"] == "Done", planned["message"]
    page = str(interface.artifacts(planned["run"]))
    assert "Backstop deletes no instance" in page
    assert "Replicas are not cloned: shop-db-replica" in page
    assert on_cloud_sql.google.clones == []

    moved = go_back(on_cloud_sql, moment)

    assert moved["ending"] == "Done", moved["message"]
    (clone,) = on_cloud_sql.google.clones
    assert on_cloud_sql.pointed_at == on_cloud_sql.google.instances[clone].address
    assert f"on {clone}; the database of before is kept on {INSTANCE}" in moved["message"]
    assert BEFORE in on_cloud_sql.tasks(clone)
    assert SINCE not in on_cloud_sql.tasks(clone)
    assert shop.read().may_connect == {"shop_restore"}
    assert records.effects(moved["run"]).count("set password") == 1
    write_through_service(on_cloud_sql, "written to the clone")
    assert "written to the clone" in on_cloud_sql.tasks(clone)

    health = on_cloud_sql.stack.run_procedure("health-check", ENVIRONMENT)
    assert health["ending"] == "Done", health["message"]
    refused = on_cloud_sql.stack.run_procedure("undo-restore", ENVIRONMENT)
    assert refused["ending"] == "Rolled back", refused["message"]
    assert "public.tasks" in refused["message"]

    undone = on_cloud_sql.stack.run_procedure("undo-restore", ENVIRONMENT, accept_loss=EVERYTHING)

    assert undone["ending"] == "Done", undone["message"]
    assert f"gcloud sql instances delete {clone}" in undone["message"]
    assert on_cloud_sql.platform.read_variables() == variables
    assert shop.read().may_connect == may_connect
    write_through_service(on_cloud_sql, "after the undo")
    assert {SINCE, "after the undo"} <= {title for (title,) in shop.ask("SELECT title FROM tasks")}
    records.assert_settled(ENVIRONMENT)


def assert_put_back(on_cloud_sql: OnCloudSql, failed: dict[str, Any], variables: dict[str, str]) -> None:
    assert (failed["ending"], failed["exit_code"]) == ("Rolled back", 3), failed["message"]
    assert f"all but the clone {on_cloud_sql.google.clones[0]}, which stays" in failed["message"]
    assert on_cloud_sql.platform.read_variables() == variables
    write_through_service(on_cloud_sql, "after it was put back")


def test_a_service_that_does_not_come_back_is_put_back(
    on_cloud_sql: OnCloudSql, moment: str, shop: ShopDatabase, records: Records
) -> None:
    variables = on_cloud_sql.platform.read_variables()
    on_cloud_sql.platform.set_variables({**variables, "SHOP_WEBHOOK_SECRET": ""})  # no release starts without it
    failed = go_back(on_cloud_sql, moment)
    assert on_cloud_sql.platform.read_variables()[VARIABLE] == variables[VARIABLE]
    on_cloud_sql.platform.set_variables(variables)
    assert_put_back(on_cloud_sql, failed, variables)
    assert "switch databases back" in records.effects(failed["run"])
    records.assert_settled(ENVIRONMENT)


def test_what_was_written_since_is_named_before_writes_are_stopped(
    on_cloud_sql: OnCloudSql, moment: str, shop: ShopDatabase, records: Records
) -> None:
    variables = on_cloud_sql.platform.read_variables()
    failed = go_back(on_cloud_sql, moment, accept_loss="public.users")
    assert_put_back(on_cloud_sql, failed, variables)
    assert "public.tasks: " in failed["message"]
    assert records.effects(failed["run"]) == ["clone instance"]
    records.assert_settled(ENVIRONMENT)


def test_a_clone_that_google_could_not_make_changes_nothing(
    on_cloud_sql: OnCloudSql, moment: str, shop: ShopDatabase, records: Records
) -> None:
    variables = on_cloud_sql.platform.read_variables()
    on_cloud_sql.google.operation_error = "the zone has no room"
    failed = go_back(on_cloud_sql, moment)
    assert "INTERNAL_ERROR: the zone has no room" in failed["message"]
    assert_put_back(on_cloud_sql, failed, variables)
    records.assert_settled(ENVIRONMENT)


def test_a_run_that_dies_while_google_clones_is_put_back(
    on_cloud_sql: OnCloudSql, moment: str, shop: ShopDatabase, records: Records
) -> None:
    variables, before = on_cloud_sql.platform.read_variables(), records.newest_run(ENVIRONMENT)
    on_cloud_sql.google.goes_on.clear()
    with running_procedures(on_cloud_sql.stack) as runner:
        runner.begin("restore-and-verify", ENVIRONMENT, point_in_time=moment, accept_loss=EVERYTHING)
        run_id = records.wait_until_begun(ENVIRONMENT, before)
        eventually(lambda: on_cloud_sql.google.clones, RUN_SECONDS)
        os.kill(runner.process.pid, signal.SIGKILL)
        run = records.wait_for_ending(run_id)
    assert run["ending"] == "Rolled back", run["message"]
    assert "leave clone" in run["message"]
    assert on_cloud_sql.platform.read_variables() == variables
    write_through_service(on_cloud_sql, "after it died")
    records.assert_settled(ENVIRONMENT)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"backup": "20261121T020000Z-01234567"}, "Parameter 'backup'"),
        ({"point_in_time": "yesterday"}, "a time as 2026-"),
        ({"point_in_time": (datetime.now(UTC) + timedelta(days=1)).isoformat()}, f"which is what {INSTANCE} has"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(
    on_cloud_sql: OnCloudSql, moment: str, parameters: dict[str, object], told: str
) -> None:
    refused = go_back(on_cloud_sql, moment, **parameters)
    assert (refused["ending"], refused["exit_code"]) == ("Refused", 1), refused["message"]
    assert told in refused["message"]
    assert on_cloud_sql.google.operations == []


def test_what_stands_in_the_way_is_told_before_anything_is_begun(on_cloud_sql: OnCloudSql, moment: str) -> None:
    on_cloud_sql.google.points_in_time = False
    refused = go_back(on_cloud_sql, moment)
    assert (refused["ending"], refused["exit_code"]) == ("Refused", 1), refused["message"]
    assert f"switch it on for {INSTANCE}" in refused["message"]
    elsewhere = on_cloud_sql.stack.run_procedure("restore-and-verify", "shop-staging", point_in_time=moment)
    assert (elsewhere["ending"], elsewhere["exit_code"]) == ("Refused", 1), elsewhere["message"]
    assert "names no Cloud SQL instance" in elsewhere["message"]
    assert on_cloud_sql.google.operations == []
