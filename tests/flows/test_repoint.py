"""Where databases cannot be renamed, a restore changes the variable that names the live one and starts anew."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from psycopg import sql

from blocks.platforms.sandbox import SandboxPlatform
from blocks.postgres.connection import read_conninfo
from deployments.apply import ROOT
from deployments.stack.state import write_private
from tests.blocks.platforms.waiting import eventually
from tests.drills.migrating import TIDY
from tests.flows.migrations import clone_for, write_environment
from tests.flows.records import Records
from tests.flows.shop_database import EVERYTHING, NAME, ShopDatabase
from tests.flows.test_migrate_with_backup import ADD, NO_WAY_BACK, SHORT, VERSION
from tests.running_stack import RunningStack

STAGING = ROOT / "deployments" / "environments" / "shop-staging.yaml"
REPOINTED = "shop-repointed"
MIGRATED = "shop-repointed-and-migrated"
VARIABLE = "DATABASE_URL"


@pytest.fixture(scope="module")
def repointed(shared_stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Staging under another name, whose restores change a variable. Afterwards all it has is as before."""
    shared_stack.mend()
    content = yaml.safe_load(STAGING.read_text())
    content["environment"] = REPOINTED
    content["database"]["variable"] = VARIABLE
    file = tmp_path_factory.mktemp("environments") / f"{REPOINTED}.yaml"
    file.write_text(yaml.safe_dump(content))
    shared_stack.run("apply", str(file))
    staging = platform_of(shared_stack, file.parent)
    variables = staging.read_variables()
    yield shared_stack
    staging.set_variables(variables)
    assert shared_stack.run_procedure("deploy", "shop-staging", version="v1.1.0")["ending"] == "Done"
    ShopDatabase(shared_stack).drop_others()


def platform_of(stack: RunningStack, folder: Path) -> SandboxPlatform:
    token = folder / "token"
    if not token.exists():
        write_private(token, stack.layout.credentials.staging.sandbox_token)
    return SandboxPlatform(url=stack.layout.control_url("staging"), token=f"file:{token}", timeout=5)


@pytest.fixture
def platform(repointed: RunningStack, tmp_path: Path) -> SandboxPlatform:
    return platform_of(repointed, tmp_path)


@pytest.fixture
def shop(repointed: RunningStack) -> ShopDatabase:
    repointed.mend()
    return ShopDatabase(repointed)


def pointed_at(platform: SandboxPlatform) -> str:
    return read_conninfo(platform.read_variables()[VARIABLE])["dbname"]


def titles(shop: ShopDatabase, database: str) -> str:
    return str(shop.ask("SELECT title FROM tasks", database))


def write_through_service(shop: ShopDatabase, title: str) -> None:
    credentials, url = shop.stack.layout.credentials.staging, shop.stack.layout.front_url("staging")
    with httpx.Client(base_url=url, timeout=5, trust_env=False) as client:
        login = client.post("/login", json={"name": "demo", "password": credentials.demo_password}).raise_for_status()
        headers = {"Authorization": f"Bearer {login.json()['token']}"}
        client.post("/tasks", json={"title": title}, headers=headers).raise_for_status()


def back_up(stack: RunningStack, environment: str = REPOINTED) -> str:
    made = stack.run_procedure("back-up-database", environment)
    assert made["ending"] == "Done", made
    backup = str(made["message"].split()[1])
    assert stack.run_procedure("verify-backup", environment, backup=backup)["ending"] == "Done"
    return backup


def test_the_service_finds_the_restored_database_and_undo_brings_the_one_of_before_back(
    shop: ShopDatabase, platform: SandboxPlatform, records: Records
) -> None:
    shop.write_task("before the backup")
    backup = back_up(shop.stack)
    shop.write_task("after the backup")
    release, others = platform.read_traffic(), platform.read_variables()

    restored = shop.stack.run_procedure("restore-and-verify", REPOINTED, backup=backup, accept_loss="public.tasks")

    assert restored["ending"] == "Done", restored["message"]
    live = pointed_at(platform)
    assert live.startswith(f"{NAME}_from_")
    assert live in str(restored["message"])
    assert {**platform.read_variables(), VARIABLE: ""} == {**others, VARIABLE: ""}
    assert platform.read_traffic() != release
    write_through_service(shop, "written to the restored one")
    assert "written to the restored one" in titles(shop, live)
    assert "after the backup" not in titles(shop, live)
    assert shop.read(NAME).may_connect == {"shop_restore"}

    # Backups and further restores follow the variable.
    again = back_up(shop.stack)
    plan = shop.stack.run_procedure("restore-and-verify", REPOINTED, backup=again, plan_only=True)
    assert plan["ending"] == "Done", plan["message"]

    undone = shop.stack.run_procedure("undo-restore", REPOINTED, accept_loss=EVERYTHING)

    assert undone["ending"] == "Done", undone["message"]
    assert pointed_at(platform) == NAME
    write_through_service(shop, "after the undo")
    assert "after the undo" in titles(shop, NAME)
    assert "after the backup" in titles(shop, NAME)
    records.assert_settled(REPOINTED)


def test_a_release_that_does_not_start_on_it_puts_all_back(
    shop: ShopDatabase, platform: SandboxPlatform, records: Records
) -> None:
    backup = back_up(shop.stack)
    traffic, variables, others = platform.read_traffic(), platform.read_variables(), set(shop.others())
    platform.set_variables({**variables, "SHOP_WEBHOOK_SECRET": ""})  # no release starts without it
    try:
        failed = shop.stack.run_procedure("restore-and-verify", REPOINTED, backup=backup, accept_loss=EVERYTHING)
        after = platform.read_variables()
    finally:
        platform.set_variables(variables)

    assert (failed["ending"], failed["exit_code"]) == ("Rolled back", 3), failed["message"]
    assert after[VARIABLE] == variables[VARIABLE]
    assert platform.read_traffic() == traffic
    assert set(shop.others()) == others
    eventually(shop.service_answers)
    records.assert_settled(REPOINTED)


@pytest.mark.drill
def test_a_migration_that_has_no_way_down_is_taken_back_by_the_variable(
    shop: ShopDatabase, platform: SandboxPlatform, records: Records, tmp_path: Path
) -> None:
    migrations, database = clone_for(shop.stack, tmp_path), yaml.safe_load(STAGING.read_text())["database"]
    others = {"environment": MIGRATED, "database": {**database, "variable": VARIABLE}}
    shop.stack.run("apply", str(write_environment(tmp_path, migrations, **others)))
    back_up(shop.stack, MIGRATED)
    shop.write_task("x" * 150)
    tasks, may_connect = shop.rows()["tasks"], shop.read().may_connect
    up = f"-- backstop: no-transaction\n{NO_WAY_BACK} {ADD} {SHORT}"  # the rehearsal's copy has no long title
    commit = migrations.commit("half", up)

    failed = shop.stack.run_procedure(
        "migrate-with-backup", MIGRATED, version=VERSION, commit=commit, stop_writes="yes"
    )

    assert failed["ending"] == "Rolled back", failed["message"]
    live = pointed_at(platform)
    assert live.startswith(f"{NAME}_from_")
    assert shop.rows(live)["tasks"] == tasks
    assert (shop.read(live).may_connect, shop.read().may_connect) == (may_connect, {"shop_restore"})
    eventually(shop.service_answers)
    records.assert_settled(MIGRATED)
    shop.ask(TIDY)  # what was migrated half-way, and is closed: the other tests' database
    open_again = sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
        sql.Identifier(NAME), sql.SQL(", ").join(map(sql.Identifier, sorted(may_connect)))
    )
    with shop.connect() as connection:
        connection.execute(open_again)


def test_a_variable_that_the_platform_does_not_have_refuses(shop: ShopDatabase, tmp_path: Path) -> None:
    content = yaml.safe_load(STAGING.read_text())
    content["environment"] = "shop-mispointed"
    content["database"]["variable"] = "NO_SUCH_VARIABLE"
    (tmp_path / "shop-mispointed.yaml").write_text(yaml.safe_dump(content))
    shop.stack.run("apply", str(tmp_path / "shop-mispointed.yaml"))
    refused = shop.stack.run_procedure("back-up-database", "shop-mispointed")
    assert (refused["ending"], refused["exit_code"]) == ("Refused", 1)
    assert "has no variable NO_SUCH_VARIABLE" in str(refused["message"])
