"""How old the secrets are, as the trail tells it."""

import re
from collections.abc import Iterator

import pytest

from deployments.secret_standing import SecretStanding, read_secret_standing
from tasks.ledger import Run, run_record
from tasks.secret_age import ROTATED
from tests.ledger_database import LedgerDatabase


@pytest.fixture
def run(ledger: LedgerDatabase) -> Iterator[Run]:
    with ledger.connect("run-1") as connection:
        run = Run(id="run-1", procedure="rotate-secrets", environment="shop", requested_by="Ada", connection=connection)
        with run_record(run, {}):
            yield run


def test_each_is_shown_with_its_age_and_told_when_it_is_too_old(run: Run) -> None:
    data = {"secrets": {"rotated": {"database": {}, "session": {"max_age_days": 0}, "mail": {}}}}
    for secret in ("database", "session"):
        run.record(ROTATED, secret=secret)
    run.connection.execute("UPDATE run SET ending = 'Done' WHERE id = %s", [run.id])
    assert read_secret_standing(run.connection, "shop", data) == SecretStanding(
        secrets=["database: 0.0 days", "session: 0.0 days", "mail: never rotated"],
        overdue=["secret session: 0.0 days old; 0 days are allowed"],
    )


def test_one_of_before_that_is_accepted_still_is_shown(run: Run) -> None:
    run.record(ROTATED, secret="session", previous_seconds=7200)
    run.connection.execute("UPDATE run SET ending = 'Done' WHERE id = %s", [run.id])
    shown = read_secret_standing(run.connection, "shop", {"secrets": {"rotated": {"session": {}}}}).secrets
    assert re.fullmatch(
        r"session: 0\.0 days, the previous one to be retired after 20\d\d-\d\d-\d\d \d\d:\d\d UTC", *shown
    )


def test_an_environment_that_names_none_shows_none(run: Run) -> None:
    for data in ({}, {"secrets": None}):
        assert read_secret_standing(run.connection, "shop", data) == SecretStanding(secrets=[], overdue=[])
