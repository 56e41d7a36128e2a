"""With ledger and Prefect gone, the backup store and an environment file are enough to restore."""

from deployments.stack.record import read_record
from tests.deployments.cli.offline import Offline
from tests.flows.shop_database import ShopDatabase


def test_a_restore_runs_to_its_end_and_leaves_its_journal(shop: ShopDatabase, offline: Offline) -> None:
    shop.ask("TRUNCATE tasks")
    shop.write_task("in the backup")
    backup = shop.back_up()
    shop.write_task("written since")

    code, output = offline.restore("--offline", "-p", f"backup={backup}", "-p", "accept_loss=public.tasks")

    assert code == 0, output
    assert f"Done: {backup} is live in shop-staging" in output
    tasks = str(shop.rows()["tasks"])
    assert "in the backup" in tasks
    assert "written since" not in tasks
    assert list((offline.stack.folder / "evidence" / "reports" / "shop-staging").glob("*.json"))
    assert read_record(offline.stack.state).components == {}
    assert shop.service_answers()


def test_without_the_flag_it_names_the_usual_way(offline: Offline) -> None:
    code, output = offline.restore()
    assert code == 1
    assert "backstop run restore-and-verify ENVIRONMENT --wait" in output
    assert not offline.stack.folder.exists()
