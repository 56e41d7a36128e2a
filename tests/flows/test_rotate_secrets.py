"""Secrets are rotated while visitors come and go: nobody notices, or all is as it was."""

import time

import psycopg

from deployments.shop.visits import read_visits
from tests.flows.production import GOOD
from tests.flows.records import Records
from tests.flows.rotated import ENVIRONMENT, NIGHT_SHIFT, VARIABLE, Rotated, is_accepted, login
from tests.flows.runner import running_procedures


def test_nobody_notices_and_the_old_one_is_refused(rotated: Rotated, records: Records) -> None:
    old, since = rotated.url, time.time()

    result = rotated.rotate()

    assert result["ending"] == "Done", result["message"]
    assert rotated.production.unplanned_failures(since) == []
    visits = list(read_visits(rotated.production.stack.layout.visits, since))
    assert [visit for visit in visits if visit.status == 401] == [], "sessions were lost"
    new = rotated.url
    assert login(new) != login(old)
    assert is_accepted(new)
    assert not is_accepted(old)
    assert rotated.file.read_text() == f"# of the nightly job\nJOB=nightly\n{VARIABLE}={new}\n"
    (event,) = records.events(result["run"], "secret rotated")
    assert (event["secret"], event["kind"], len(event["fingerprint"])) == ("database", "postgres-role", 16)
    assert records.open_rotations() == []
    records.assert_settled(ENVIRONMENT)


def test_a_rollback_returns_to_a_release_from_before_it_with_the_new_one(rotated: Rotated, records: Records) -> None:
    """Both that was kept running, and that was stopped: they were started with the old one."""
    production = rotated.production
    newer = production.start("v1.1.0")
    production.give_traffic({newer.id: 100})
    assert len(production.running()) == 2

    rotation = rotated.rotate()
    assert rotation["ending"] == "Done", rotation["message"]
    (main,) = production.running()
    assert (production.release(main).version, main == newer.id) == ("v1.1.0", False)
    result = production.stack.run_procedure("roll-back-deploy", ENVIRONMENT, to=GOOD)

    assert result["ending"] == "Done", result["message"]
    assert production.answering_version() == GOOD
    rotated.agreed_url()


def test_a_second_one_is_refused_at_once_and_told_who_goes_on(rotated: Rotated, records: Records) -> None:
    stack, before = rotated.production.stack, rotated.look()
    with (
        running_procedures(stack) as another,
        psycopg.connect(rotated.url, connect_timeout=5, application_name=NIGHT_SHIFT),
    ):
        another.run("rotate-secrets", ENVIRONMENT, plan_only=True)  # so that it has begun by then
        run_id = rotated.begin_until_in_use(records)
        second = another.run("rotate-secrets", ENVIRONMENT)
        first = stack.runner.get(stack.surroundings).result()

    assert second["ending"] == "Refused", second["message"]
    assert f"shop-rotated is held by rotate-secrets (run {run_id})" in second["message"]
    assert records.effects(second["run"]) == []
    assert first["ending"] == "Rolled back", first["message"]
    assert rotated.look() == before


def test_a_consumer_that_does_not_start_has_all_as_it_was(rotated: Rotated, records: Records) -> None:
    platform, good = rotated.production.platform, rotated.production.platform.read_variables()
    platform.set_variables({**good, "SHOP_WEBHOOK_SECRET": ""})  # no release starts without it
    try:
        before = rotated.look()
        result = rotated.rotate()
        after = rotated.look()
    finally:
        platform.set_variables(good)

    assert (result["ending"], result["exit_code"]) == ("Rolled back", 3), result["message"]
    assert after == before
    assert is_accepted(rotated.url)
    assert records.events(result["run"], "secret rotated") == []
    assert records.open_rotations() == []
    records.assert_settled(ENVIRONMENT)


def test_an_old_one_that_somebody_uses_still_is_not_retired(rotated: Rotated, records: Records) -> None:
    before = rotated.look()

    with psycopg.connect(rotated.url, connect_timeout=5, application_name=NIGHT_SHIFT):
        result = rotated.rotate()

    assert result["ending"] == "Rolled back", result["message"]
    assert f"database: the old one is in use still after 3 s, by {NIGHT_SHIFT}." in result["message"]
    assert rotated.look() == before
    assert is_accepted(rotated.url)
    assert rotated.production.answering_version() == GOOD


def test_a_sink_that_somebody_else_changed_is_left_alone_and_the_rest_finished_by_hand(
    rotated: Rotated, records: Records
) -> None:
    before, foreign = rotated.look(), f"{VARIABLE}=postgresql://somebody@else/app\n"
    old_text = rotated.file.read_text()

    with psycopg.connect(rotated.url, connect_timeout=5, application_name=NIGHT_SHIFT):
        run_id = rotated.begin_until_in_use(records)
        rotated.file.write_text(foreign)
        result = rotated.production.stack.runner.get(rotated.production.stack.surroundings).result()

    assert (result["ending"], result["exit_code"]) == ("Needs a human", 4), result["message"]
    assert f"what the file {rotated.file} holds is neither the old value nor this rotation's" in result["message"]
    assert rotated.file.read_text() == foreign
    assert is_accepted(rotated.url), "the database's own"
    again = rotated.rotate()
    assert again["ending"] == "Refused"
    assert f"run {run_id} left one" in again["message"]

    rotated.file.write_text(old_text)
    finished = rotated.production.stack.run_procedure("roll-back-rotation", ENVIRONMENT)

    assert finished["ending"] == "Done", finished["message"]
    assert rotated.look() == before
    assert records.open_rotations() == []
    rotated.production.stack.run("recover", "--settled", run_id)
    nothing = rotated.production.stack.run_procedure("roll-back-rotation", ENVIRONMENT)
    assert nothing["ending"] == "Refused"
    assert "No rotation of shop-rotated is left open." in nothing["message"]


def test_what_is_in_the_way_is_told_before_anything_is_changed(rotated: Rotated, records: Records) -> None:
    rotated.file.write_text(f"{VARIABLE}=postgresql://another@127.0.0.1/app\n")
    before = rotated.look()
    differing = rotated.rotate()
    assert differing["ending"] == "Refused"
    assert f"the file {rotated.file} holds another {VARIABLE} than the platform's variables" in differing["message"]
    unknown = rotated.rotate(secrets="database, other")
    assert unknown["ending"] == "Refused"
    assert "'database, other'" in unknown["message"] or "'other'" in unknown["message"]
    assert rotated.look() == before
    assert records.effects(differing["run"]) == records.effects(unknown["run"]) == []
