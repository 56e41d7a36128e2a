"""Procedures that are killed everywhere: where each begins, how its environment looks, how it is when it is done."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tests.blocks.platforms.waiting import eventually
from tests.blocks.stores.faults import FaultProxy
from tests.drills.database_log import DatabaseLog
from tests.drills.migrating import ADD, DROP, TIDY, VERSION, State
from tests.drills.outcome import Practice
from tests.drills.platform_log import PlatformLog
from tests.flows.migrations import ENVIRONMENT as MIGRATED
from tests.flows.migrations import Migrations
from tests.flows.moving import ENVIRONMENT as MOVING
from tests.flows.moving import INSTANCE, Moving
from tests.flows.on_cloud_sql import ENVIRONMENT as ON_CLOUD_SQL
from tests.flows.on_cloud_sql import OnCloudSql
from tests.flows.production import GOOD, Production
from tests.flows.shop_database import ENVIRONMENT as STAGING
from tests.flows.shop_database import EVERYTHING, NAME, ShopDatabase

PRODUCTION, NEW, BROKEN = "shop-quick", "v1.1.0", "v1.6.0"
PLATFORM = "SHOP_PRODUCTION_SANDBOX_URL"
STAGING_PLATFORM = "SHOP_STAGING_SANDBOX_URL"
"""The variables that their platforms' addresses refer to."""


def deploy(production: Production, log: PlatformLog) -> Practice:
    def prepare() -> object:
        production.reset()
        log.begin(production.traffic())
        return look()

    def look() -> object:
        return production.traffic(), production.running(), production.tags()

    done, variables = _runs(production, NEW), {PLATFORM: log.proxy.endpoint}
    return Practice(
        "deploy",
        "deploy",
        PRODUCTION,
        {"version": NEW},
        prepare,
        look,
        done,
        "Done",
        log,
        variables,
        {"platform": log.proxy},
    )


def deploy_of_a_broken_release(production: Production, log: PlatformLog) -> Practice:
    """Its own way back is killed, too."""
    broken = {"version": BROKEN}
    return deploy(production, log)._replace(
        name="deploy of a broken release", parameters=broken, is_done=lambda: False, ending="Rolled back"
    )


def roll_back_deploy(production: Production, log: PlatformLog) -> Practice:
    def prepare() -> object:
        production.reset()
        production.give_traffic({production.start(NEW).id: 100})
        log.begin(production.traffic())
        return look()

    def look() -> object:
        return production.traffic(), production.running(), production.tags()

    done, variables = _runs(production, GOOD), {PLATFORM: log.proxy.endpoint}
    name = "roll-back-deploy"
    return Practice(
        name, name, PRODUCTION, {"to": GOOD}, prepare, look, done, "Done", log, variables, {"platform": log.proxy}
    )


def back_up_database(shop: ShopDatabase) -> Practice:
    folder = Path(shop.stack.surroundings["SHOP_BACKUPS"]) / STAGING
    before: list[set[Path]] = []

    def prepare() -> object:
        before[:] = [look()]
        return before[0]

    def look() -> set[Path]:
        return set(folder.glob("*/manifest.json"))

    name = "back-up-database"
    return Practice(name, name, STAGING, {}, prepare, look, lambda: len(look() - before[0]) == 1)


def verify_backup(shop: ShopDatabase, backup: str) -> Practice:
    """A proof that was written by one that died before it could say so is true, and stays."""
    folder = Path(shop.stack.surroundings["SHOP_BACKUPS"]) / STAGING / backup
    before: list[set[Path]] = []

    def prepare() -> object:
        before[:] = [proofs()]
        return look()

    def proofs() -> set[Path]:
        return set(folder.glob("proofs/*.json"))

    def look() -> object:
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path not in proofs()}

    name = "verify-backup"
    return Practice(name, name, STAGING, {"backup": backup}, prepare, look, lambda: len(proofs() - before[0]) == 1)


def restore_and_verify(shop: ShopDatabase, backup: str) -> Practice:
    before: list[int] = []
    log = DatabaseLog(shop)

    def prepare() -> object:
        shop.drop_others()
        drop_own_schemas(shop)
        eventually(shop.service_answers)
        shop.write_task("acknowledged")
        before[:] = [shop.read().oid]
        log.begin()
        return look()

    def look() -> object:
        eventually(shop.service_answers)
        return shop.read().oid, shop.read().may_connect, shop.rows(), shop.others()

    def is_done() -> bool:
        eventually(shop.service_answers)
        (kept,) = shop.others()
        return shop.read(kept).oid == before[0] != shop.read().oid

    parameters = {"backup": backup, "accept_loss": EVERYTHING}
    name = "restore-and-verify"
    return Practice(name, name, STAGING, parameters, prepare, look, is_done, "Done", log)


def restore_elsewhere(shop: ShopDatabase, moving: Moving, backup: str) -> Practice:
    """To a second server."""
    url, traffic = (moving.folder / "url").read_text(), moving.platform.read_traffic()
    may_connect = sorted(shop.read().may_connect)

    def prepare() -> object:
        moving.point(url)
        shop.ask(f"GRANT CONNECT ON DATABASE {NAME} TO {', '.join(may_connect)}")
        moving.platform.shift_traffic(traffic)
        moving.empty_second()
        shop.write_task("acknowledged")
        return look()

    def look() -> object:
        eventually(shop.service_answers)
        first = moving.pointed_at, moving.platform.read_traffic(), shop.read().may_connect, shop.rows()
        return first, moving.names(), moving.roles()

    def is_done() -> bool:
        eventually(shop.service_answers)
        return moving.pointed_at == (moving.second.port, *moving.names())

    parameters = {"backup": backup, "accept_loss": EVERYTHING, "instance": INSTANCE}
    return Practice("restore elsewhere", "restore-and-verify", MOVING, parameters, prepare, look, is_done)


def back_to_a_point_in_time(shop: ShopDatabase, on_cloud_sql: OnCloudSql, moment: str) -> Practice:
    """To a clone, which stays wherever it is killed."""

    def prepare() -> object:
        on_cloud_sql.mend()
        shop.write_task("acknowledged")
        return look()

    def look() -> object:
        eventually(shop.service_answers)
        platform = on_cloud_sql.platform
        return on_cloud_sql.pointed_at, platform.read_traffic(), shop.read().may_connect, shop.rows()

    def is_done() -> bool:
        eventually(shop.service_answers)
        return on_cloud_sql.pointed_at in {one.address for one in on_cloud_sql.clones}

    parameters = {"point_in_time": moment, "accept_loss": EVERYTHING}
    return Practice("back to a point in time", "restore-and-verify", ON_CLOUD_SQL, parameters, prepare, look, is_done)


def through(platform: FaultProxy, practice: Practice) -> Practice:
    """With staging's platform behind that proxy."""
    return practice._replace(variables={STAGING_PLATFORM: platform.endpoint}, proxies={"platform": platform})


def restore_table(shop: ShopDatabase, backup: str) -> Practice:
    """In place of the live rows: one task was written since."""
    rows_then: list[Sequence[object]] = []

    def prepare() -> object:
        drop_own_schemas(shop)
        shop.write_task("written since")
        rows_then[:] = shop.ask("TABLE tasks ORDER BY 1")
        return look()

    def look() -> object:
        return shop.ask("TABLE tasks ORDER BY 1"), own_schemas(shop)

    def is_done() -> bool:
        return shop.ask("TABLE tasks ORDER BY 1") != rows_then

    parameters = {"tables": "public.tasks", "backup": backup, "mode": "replace", "accept_loss": "public.tasks"}
    return Practice("restore-table", "restore-table", STAGING, parameters, prepare, look, is_done)


def migrate_with_backup(shop: ShopDatabase, migrations: Migrations) -> Practice:
    """With writes stopped. What a smoke test wrote before it was killed is nobody's."""
    commit = migrations.commit("good", ADD, DROP)

    def prepare() -> object:
        shop.ask(TIDY)
        shop.write_task("acknowledged")
        return look()

    def look() -> tuple[State, list[tuple[object, ...]], list[str]]:
        eventually(shop.service_answers)
        titles = "SELECT title FROM tasks WHERE title <> 'Backstop smoke test' ORDER BY id"
        return State.of(shop), shop.ask(titles), shop.others()

    def is_done() -> bool:
        state, titles, others = look()
        return "place text" in state.schema and titles == [("acknowledged",)] and not others

    parameters = {"version": VERSION, "commit": commit, "stop_writes": "yes"}
    name = "migrate-with-backup"
    return Practice(name, name, MIGRATED, parameters, prepare, look, is_done)


def _runs(production: Production, version: str) -> Callable[[], bool]:
    def runs() -> bool:
        eventually(lambda: production.answering_version() == version)
        return list(production.traffic().values()) == [100]

    return runs


def drop_own_schemas(shop: ShopDatabase) -> None:
    for name in own_schemas(shop):
        shop.ask(f'DROP SCHEMA "{name}" CASCADE')


def own_schemas(shop: ShopDatabase) -> list[str]:
    statement = "SELECT nspname FROM pg_namespace WHERE nspname ~ '^(restored|before|after)_' ORDER BY 1"
    return [str(name) for (name,) in shop.ask(statement, NAME)]
