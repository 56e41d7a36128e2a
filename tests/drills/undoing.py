"""The undos that people start, as practices: each begins where the procedure that it takes back has ended."""

from collections.abc import Sequence

from tests.blocks.platforms.waiting import eventually
from tests.drills.database_log import DatabaseLog
from tests.drills.migrating import ADD, DROP, TIDY, VERSION, State
from tests.drills.outcome import Practice
from tests.drills.practices import drop_own_schemas, own_schemas
from tests.flows.migrations import ENVIRONMENT as MIGRATED
from tests.flows.migrations import Migrations
from tests.flows.shop_database import ENVIRONMENT as STAGING
from tests.flows.shop_database import EVERYTHING, NAME, ShopDatabase


def undo_restore(shop: ShopDatabase, backup: str) -> Practice:
    """What the smoke test of the restore wrote is accepted as lost."""
    log = DatabaseLog(shop)
    restored: list[int] = []
    kept: list[int] = []

    def prepare() -> object:
        if shop.read().oid not in restored:
            shop.drop_others()
            drop_own_schemas(shop)
            shop.write_task("acknowledged")
            kept[:] = [shop.read().oid]
            _run(shop, "restore-and-verify", STAGING, backup=backup, accept_loss=EVERYTHING)
            restored[:] = [shop.read().oid]
        (other,) = shop.others()
        log.begin(other)
        return look()

    def look() -> object:
        eventually(shop.service_answers)
        return shop.read().oid, shop.read().may_connect, shop.rows(), shop.others()

    def is_done() -> bool:
        eventually(shop.service_answers)
        return shop.read().oid == kept[0] and [shop.read(other).oid for other in shop.others()] == restored

    name = "undo-restore"
    return Practice(name, name, STAGING, {"accept_loss": EVERYTHING}, prepare, look, is_done, "Done", log)


def undo_restore_that_would_lose_writes(shop: ShopDatabase, backup: str) -> Practice:
    """What the smoke test of the restore wrote is not accepted as lost. So is its way back killed, too."""
    return undo_restore(shop, backup)._replace(
        name="undo-restore that would lose writes", parameters={}, is_done=lambda: False, ending="Rolled back"
    )


def undo_restore_table(shop: ShopDatabase, backup: str) -> Practice:
    rows_before: list[Sequence[object]] = []

    def prepare() -> object:
        if not rows_before:
            drop_own_schemas(shop)  # of another practice
        if not own_schemas(shop):
            shop.write_task("written since")
            rows_before[:] = _tasks(shop)
            replace = {"tables": "public.tasks", "mode": "replace", "accept_loss": "public.tasks"}
            _run(shop, "restore-table", STAGING, backup=backup, **replace)
        return look()

    def look() -> object:
        return _tasks(shop), own_schemas(shop)

    def is_done() -> bool:
        return _tasks(shop) == rows_before and not own_schemas(shop)

    name = "undo-restore-table"
    return Practice(name, name, STAGING, {}, prepare, look, is_done)


def roll_back_migration(shop: ShopDatabase, migrations: Migrations) -> Practice:
    """A migration whose down-migration is exact. It is run once, and then made again as it was."""
    commit = migrations.commit("good", ADD, DROP)
    applied: list[Sequence[object]] = []

    def prepare() -> object:
        if not applied:
            shop.ask(TIDY)
            shop.write_task("acknowledged")
            _run(shop, "migrate-with-backup", MIGRATED, version=VERSION, commit=commit)
            applied[:] = shop.ask("TABLE backstop_migrations")
        elif not shop.ask("TABLE backstop_migrations"):
            shop.ask(ADD)
            for row in applied:
                shop.ask("INSERT INTO backstop_migrations VALUES (%s, %s, %s, %s)", values=row)
        return look()

    def look() -> object:
        eventually(shop.service_answers)
        return State.of(shop), _tasks(shop), shop.ask("SELECT name FROM backstop_migrations")

    def is_done() -> bool:
        eventually(shop.service_answers)
        return "place text" not in State.of(shop).schema and not shop.ask("TABLE backstop_migrations")

    name = "roll-back-migration"
    return Practice(name, name, MIGRATED, {}, prepare, look, is_done)


def _tasks(shop: ShopDatabase) -> list[tuple[object, ...]]:
    return shop.ask("SELECT id, title FROM tasks WHERE title <> 'Backstop smoke test' ORDER BY id", NAME)


def _run(shop: ShopDatabase, procedure: str, environment: str, **parameters: object) -> None:
    ended = shop.stack.run_procedure(procedure, environment, **parameters)
    assert ended["ending"] == "Done", ended["message"]
