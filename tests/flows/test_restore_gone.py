"""The live database is gone: a restore makes it anew with all that stood around it, or leaves nothing half-made."""

import pytest
from psycopg import sql

from tests.blocks.platforms.waiting import eventually
from tests.flows.records import Records
from tests.flows.shop_database import ENVIRONMENT, NAME, ShopDatabase
from tests.flows.test_restore_and_verify import restore

SECRET = "planted-in-a-setting"


@pytest.fixture
def backup(shop: ShopDatabase) -> str:
    """Proven, of a database with settings of its own."""
    shop.ask(f"ALTER DATABASE {NAME} SET work_mem = '7MB'")
    shop.ask(f"ALTER DATABASE {NAME} SET app.jwt_secret = '{SECRET}'")
    shop.ask(f"COMMENT ON DATABASE {NAME} IS 'the shop''s'")
    return shop.back_up()


def drop_live(shop: ShopDatabase) -> None:
    with shop.connect("postgres") as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(NAME)))


def test_it_is_there_again_with_its_owner_privileges_and_settings(
    shop: ShopDatabase, backup: str, records: Records
) -> None:
    rows, before = shop.rows(), shop.read()
    drop_live(shop)

    refused = restore(shop, backup=backup)
    assert (refused["ending"], refused["exit_code"]) == ("Refused", 1)
    assert "accept_loss=unknown" in str(refused["message"])
    assert NAME not in shop.names()

    result = restore(shop, backup=backup, accept_loss="unknown")

    assert result["ending"] == "Done", result["message"]
    assert {name: shop.rows()[name] for name in ("users", "offers")} == {
        name: rows[name] for name in ("users", "offers")
    }
    after, varying = shop.read(), {"oid", "size", "grants", "settings"}
    assert after.model_dump(exclude=varying) == before.model_dump(exclude=varying)
    assert {str(grant) for grant in after.grants} == {str(grant) for grant in before.grants}
    assert after.settings == [setting for setting in before.settings if not setting.is_custom]
    assert "app.jwt_secret" in str(result["message"])
    eventually(shop.service_answers)
    records.assert_settled(ENVIRONMENT)


def test_a_setting_that_may_be_secret_is_named_in_the_manifest_without_its_value(
    shop: ShopDatabase, backup: str
) -> None:
    manifest = (shop.stack.folder / "backups" / ENVIRONMENT / backup / "manifest.json").read_text()
    assert "app.jwt_secret" in manifest
    assert SECRET not in manifest


def test_a_damaged_backup_makes_no_database(shop: ShopDatabase, backup: str) -> None:
    archive = next((shop.stack.folder / "backups" / ENVIRONMENT / backup).glob("files.tar*"))
    whole = archive.read_bytes()
    drop_live(shop)
    archive.write_bytes(whole[:-1])
    try:
        failed = restore(shop, backup=backup, accept_loss="unknown")
    finally:
        archive.write_bytes(whole)
    assert (failed["ending"], failed["exit_code"]) == ("Rolled back", 3), failed["message"]
    assert [name for name in shop.names() if name.startswith(NAME)] == []

    assert restore(shop, backup=backup, accept_loss="unknown")["ending"] == "Done"
    eventually(shop.service_answers)


def test_undoing_by_hand_would_leave_no_database_and_is_refused(shop: ShopDatabase, backup: str) -> None:
    drop_live(shop)
    assert restore(shop, backup=backup, accept_loss="unknown")["ending"] == "Done"
    refused = shop.stack.run_procedure("undo-restore", ENVIRONMENT)
    assert (refused["ending"], refused["exit_code"]) == ("Refused", 1)
    assert "there was no database" in str(refused["message"]).lower()
    assert NAME in shop.names()
