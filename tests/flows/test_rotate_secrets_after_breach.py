"""An old secret that has leaked is cut first and never comes back: everybody gets a new one, or a human is told all."""

from contextlib import suppress

import psycopg

from tests.flows.records import Records
from tests.flows.rotated import ENVIRONMENT, NIGHT_SHIFT, Rotated, is_accepted


def is_thrown_out(connection: psycopg.Connection) -> bool:
    with suppress(psycopg.OperationalError):
        connection.execute("SELECT 1")
        return False
    return True


def test_the_old_one_is_cut_before_anything_else_and_whoever_has_it_thrown_out(
    rotated: Rotated, records: Records
) -> None:
    old = rotated.url
    planned = rotated.rotate(emergency=True, plan_only=True)
    assert planned["message"].endswith("Nothing was changed."), planned["message"]

    with psycopg.connect(old, connect_timeout=5, application_name=NIGHT_SHIFT) as intruder:
        result = rotated.rotate(emergency=True)
        assert is_thrown_out(intruder)

    assert result["ending"] == "Done", result["message"]
    assert records.effects(result["run"])[:2] == ["cut secret", "install secret"]
    assert rotated.agreed_url() != old
    assert not is_accepted(old)
    assert records.open_rotations() == []
    assert len(records.events(result["run"], "secret rotated")) == 1
    records.assert_settled(ENVIRONMENT)


def test_where_it_cannot_go_on_the_old_one_stays_cut_and_it_is_finished_by_hand(
    rotated: Rotated, records: Records
) -> None:
    platform, good, old = rotated.production.platform, rotated.production.platform.read_variables(), rotated.url
    platform.set_variables({**good, "SHOP_WEBHOOK_SECRET": ""})  # no release starts without it
    try:
        result = rotated.rotate(emergency=True)
    finally:
        platform.set_variables({**platform.read_variables(), "SHOP_WEBHOOK_SECRET": good["SHOP_WEBHOOK_SECRET"]})

    assert (result["ending"], result["exit_code"]) == ("Needs a human", 4), result["message"]
    for told in (
        "did not start",
        "database: the old one is refused.",
        "database: the platform's variables holds the new one.",
        f"database: the file {rotated.file} holds the new one.",
        "start roll-back-rotation",
    ):
        assert told in result["message"], result["message"]
    assert not is_accepted(old)
    supplied = rotated.url
    assert records.open_rotations() == [result["run"]]

    finished = rotated.production.stack.run_procedure("roll-back-rotation", ENVIRONMENT)

    assert finished["ending"] == "Done", finished["message"]
    assert rotated.agreed_url() == supplied != old
    assert records.open_rotations() == []
    rotated.production.stack.run("recover", "--settled", result["run"])
    records.assert_settled(ENVIRONMENT)
