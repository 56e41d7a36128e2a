"""Which secrets have to be rotated, and how old they are."""

from datetime import UTC, datetime, timedelta

import pytest

from blocks.rotation import Rotation
from tasks.ledger import Run
from tasks.rotations_due import find_due, find_over, goes_on
from tasks.secret_age import PREVIOUS_RETIRED, ROTATED, read_ages, read_previous

SECRET = {
    "type": "postgres-role",
    "variable": "DATABASE_URL",
    "roles": ["a", "b"],
    "rotate_url": "${ROTATE_URL}",
    "sinks": [{"type": "platform"}],
}
POLICY = Rotation.model_validate({"rotated": {"first": SECRET, "second": {**SECRET, "max_age_days": 30}}})


def days(**ages: float) -> dict[str, timedelta]:
    return {name: timedelta(days=age) for name, age in ages.items()}


def end(run: Run, ending: str) -> None:
    run.connection.execute("UPDATE run SET ending = %s WHERE id = %s", [ending, run.id])


@pytest.mark.parametrize(("first", "is_due"), [(0, False), (90.9, False), (91, True), (200, True)])
def test_one_is_due_before_it_is_too_old(first: float, is_due: bool) -> None:
    """The next look is a day later."""
    assert ("first" in find_due(POLICY, days(first=first, second=0))) is is_due


def test_each_has_its_own_limit_and_one_that_never_was_is_due() -> None:
    assert find_due(POLICY, days(second=29.5)) == {
        "first": "first was never rotated.",
        "second": "second is 29.5 days old; 30 are allowed.",
    }


def test_one_that_somebody_gives_is_left_to_them() -> None:
    given = {"type": "provided", "variable": "X", "means": "…", "value": "${X}", "sinks": [{"type": "platform"}]}
    assert find_due(Rotation.model_validate({"rotated": {"given": given}}), {}) == {}


def rotate(run: Run, previous_seconds: float | None, event: str = ROTATED) -> None:
    run.record(event, secret="first", **({} if previous_seconds is None else {"previous_seconds": previous_seconds}))
    end(run, "Done")


def test_one_of_before_is_due_when_its_time_is_over(run: Run) -> None:
    now = datetime.now(UTC)
    rotate(run, 3600)
    previous = read_previous(run.connection, "shop")
    assert now + timedelta(minutes=59) < previous["first"] < now + timedelta(minutes=61)
    assert find_over(POLICY, previous, now) == {}
    over = find_over(POLICY, previous, now + timedelta(minutes=61))
    assert over.keys() == {"first"}
    assert over["first"].startswith("The previous first is needed no more since 2")
    assert find_over(Rotation(), previous, now + timedelta(minutes=61)) == {}, "nobody rotates it any more"


def test_the_last_rotation_says_whether_one_of_before_is_left(run: Run) -> None:
    rotate(run, None)
    assert read_previous(run.connection, "shop") == {}
    rotate(run, 1)
    rotate(run, 3600)
    assert read_previous(run.connection, "shop")["first"] > datetime.now(UTC)
    rotate(run, None, PREVIOUS_RETIRED)
    assert read_previous(run.connection, "shop") == {}
    end(run, "Rolled back")
    assert read_previous(run.connection, "shop") == {}


def test_only_a_rotation_that_was_done_counts(run: Run) -> None:
    run.record(ROTATED, secret="database", kind="postgres-role", fingerprint="0")
    for ending in ("Rolled back", "Needs a human"):
        end(run, ending)
        assert read_ages(run.connection, "shop") == {}
    end(run, "Done")
    assert timedelta() <= read_ages(run.connection, "shop")["database"] < timedelta(minutes=1)
    assert read_ages(run.connection, "shop-other") == {}


def test_one_that_is_not_over_keeps_another_from_being_started(run: Run) -> None:
    assert not goes_on(run.connection, "shop"), "it is a deploy"
    run.connection.execute("UPDATE run SET procedure = 'rotate-secrets' WHERE id = %s", [run.id])
    assert goes_on(run.connection, "shop")
    assert not goes_on(run.connection, "shop-other")
    end(run, "Done")
    assert not goes_on(run.connection, "shop")
