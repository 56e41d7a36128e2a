"""A restore moves the application to another server: roles come along, the variable is changed, and it can go back."""

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.flows.moving import ENVIRONMENT, INSTANCE, VARIABLE, Moving, moving_environment
from tests.flows.records import Records
from tests.flows.shop_database import EVERYTHING, NAME, ShopDatabase
from tests.running_stack import RunningStack


@pytest.fixture(scope="module")
def shared_moving(shared_stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moving]:
    shared_stack.mend()
    with moving_environment(shared_stack, tmp_path_factory.mktemp("moving")) as moving:
        yield moving


@pytest.fixture(scope="module")
def backup(shared_moving: Moving) -> str:
    """Proven, and the same for all these tests."""
    ShopDatabase(shared_moving.stack).write_task("on both servers")
    return shared_moving.back_up()


@pytest.fixture
def moving(stack: RunningStack, shared_moving: Moving) -> Moving:
    shared_moving.empty_second()
    return shared_moving


def restore(moving: Moving, backup: str, **parameters: object) -> dict[str, object]:
    wanted = {"backup": backup, "instance": INSTANCE, "accept_loss": EVERYTHING} | parameters
    return moving.stack.run_procedure("restore-and-verify", ENVIRONMENT, **wanted)


def write_through_service(moving: Moving, title: str) -> None:
    layout = moving.stack.layout
    with httpx.Client(base_url=layout.front_url("staging"), timeout=5, trust_env=False) as client:
        login = {"name": "demo", "password": layout.credentials.staging.demo_password}
        token = client.post("/login", json=login).raise_for_status().json()["token"]
        headers = {"Authorization": f"Bearer {token}"}
        client.post("/tasks", json={"title": title}, headers=headers).raise_for_status()


def test_the_application_moves_with_its_roles_and_comes_back(
    moving: Moving, shop: ShopDatabase, backup: str, records: Records
) -> None:
    shop.ask(f"ALTER DATABASE {NAME} SET work_mem = '7MB'")
    shop.write_task("only on the first server")
    variables, may_connect = moving.platform.read_variables(), shop.read().may_connect

    moved = restore(moving, backup)

    assert moved["ending"] == "Done", moved["message"]
    port, live = moving.pointed_at
    assert (port, moving.names()) == (moving.second.port, [live])
    assert f"as {live} on {INSTANCE}" in str(moved["message"])
    assert f"kept as {NAME} on main" in str(moved["message"])
    assert moving.second.execute("SHOW work_mem", live) == [("7MB",)]
    assert "on both servers" in str(moving.second.execute("SELECT title FROM tasks", live))
    assert "only on the first server" not in str(moving.second.execute("SELECT title FROM tasks", live))
    assert shop.read(NAME).may_connect == {"shop_restore"}
    assert moving.roles() == {NAME, "shop_backup", "shop_restore"}
    assert "Role shop_backup has no password there" in str(moved["message"])
    write_through_service(moving, "written on the second server")
    assert "written on the second server" in str(moving.second.execute("SELECT title FROM tasks", live))

    # Everything else follows: health, backups, and what would be lost.
    health = moving.stack.run_procedure("health-check", ENVIRONMENT)
    assert health["ending"] == "Done", health["message"]
    again = moving.stack.run_procedure("back-up-database", ENVIRONMENT)
    assert again["ending"] == "Done", again["message"]
    refused = moving.stack.run_procedure("undo-restore", ENVIRONMENT)
    assert refused["ending"] == "Rolled back", refused["message"]
    assert "public.tasks" in str(refused["message"])
    write_through_service(moving, "after the refusal")

    undone = moving.stack.run_procedure("undo-restore", ENVIRONMENT, accept_loss=EVERYTHING)

    assert undone["ending"] == "Done", undone["message"]
    assert moving.platform.read_variables() == variables
    assert shop.read().may_connect == may_connect
    write_through_service(moving, "after the undo")
    assert {"only on the first server", "after the undo"} <= {title for (title,) in shop.ask("SELECT title FROM tasks")}
    records.assert_settled(ENVIRONMENT)


def test_a_server_that_is_lost_is_left_for_another_one(moving: Moving, backup: str, records: Records) -> None:
    with moving.first_lost():
        variables = moving.platform.read_variables()
        refused = restore(moving, backup)
        assert (refused["ending"], refused["exit_code"]) == ("Refused", 1)
        assert "accept_loss=unknown" in str(refused["message"])

        moving.platform.set_variables({**variables, "SHOP_WEBHOOK_SECRET": ""})  # no release starts without it
        failed = restore(moving, backup, accept_loss="unknown")
        assert (failed["ending"], failed["exit_code"]) == ("Rolled back", 3), failed["message"]
        assert moving.platform.read_variables()[VARIABLE] == variables[VARIABLE]
        assert (moving.names(), moving.roles()) == ([], set())

        moving.platform.set_variables(variables)
        moved = restore(moving, backup, accept_loss="unknown")
        assert moved["ending"] == "Done", moved["message"]
        assert moving.pointed_at[0] == moving.second.port
        write_through_service(moving, "on the second server")
        back = moving.stack.run_procedure("undo-restore", ENVIRONMENT, accept_loss=EVERYTHING)
        assert (back["ending"], back["exit_code"]) == ("Refused", 1), back["message"]
    records.assert_settled(ENVIRONMENT)


@pytest.mark.parametrize(
    ("role", "url", "told"),
    [
        ("NOCREATEROLE", "", "ALTER ROLE app_restore CREATEROLE"),
        ("NOCREATEDB", "", "ALTER ROLE app_restore CREATEDB"),
        ("", "second-url", "which is not let into the live database"),
        ("", "url", "differ: make them the same"),
        ("", "restore-url", "password authentication failed"),  # that server is there: it is not lost
    ],
)
def test_what_stands_in_the_way_is_told_before_anything_is_stopped(
    moving: Moving, backup: str, role: str, url: str, told: str
) -> None:
    moving.second.execute(f"ALTER ROLE app_restore {role or 'CREATEROLE'}")
    before = (moving.folder / url).read_text() if url else ""
    if url:
        moving.write(url, re.sub(r"//\w+:", "//somebody:", before))
    try:
        refused = restore(moving, backup)
    finally:
        moving.second.execute("ALTER ROLE app_restore CREATEROLE CREATEDB")
        if url:
            moving.write(url, before)
    assert (refused["ending"], refused["exit_code"]) == ("Refused", 1), refused["message"]
    assert told in str(refused["message"])
    assert (moving.names(), moving.roles()) == ([], set())


def test_a_server_that_nobody_named_is_neither_restored_into_nor_backed_up(moving: Moving, backup: str) -> None:
    refused = restore(moving, backup, instance="third")
    assert (refused["ending"], refused["exit_code"]) == ("Refused", 1)
    assert "main, second" in str(refused["message"])
    url = moving.platform.read_variables()[VARIABLE]
    moving.point(url.replace(f":{moving.stack.layout.ports['postgres']}/", ":1/"))
    try:
        refused = moving.stack.run_procedure("back-up-database", ENVIRONMENT)
    finally:
        moving.point(url)
    assert (refused["ending"], refused["exit_code"]) == ("Refused", 1)
    assert "a database server that the environment does not name" in str(refused["message"])
