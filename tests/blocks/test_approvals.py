"""Who has to agree: what holds for each procedure, and which policies are refused when they are applied."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from blocks.approval_policy import Policy
from blocks.approvals import NEVER_ASKED, Approvals

NOW, DAY = datetime(2026, 11, 21, 12, tzinfo=UTC), timedelta(days=1)
STRICT = Approvals(needed=2, approvers=["Ada", "grace"], open_hours=4, break_glass=False)


def test_without_a_policy_nobody_is_asked() -> None:
    assert Approvals().policy_for("deploy") == Policy(needed=0, approvers=[], open_hours=24, break_glass=True)


def test_what_holds_for_all_holds_for_one_that_is_not_named() -> None:
    expected = Policy(needed=2, approvers=["ada", "grace"], open_hours=4, break_glass=False)
    assert STRICT.policy_for("deploy") == expected


def test_a_procedure_has_of_its_own_what_is_named_and_the_rest_as_for_all() -> None:
    policy = STRICT.model_copy(update={"procedures": Approvals(procedures={"deploy": {"needed": 1}}).procedures})
    assert policy.policy_for("deploy") == Policy(needed=1, approvers=["ada", "grace"], open_hours=4, break_glass=False)
    assert policy.policy_for("restore-and-verify").needed == 2


@pytest.mark.parametrize("own", [{"needed": 0}, {"approvers": []}, {"break_glass": False}])
def test_what_is_empty_for_one_procedure_is_not_taken_for_unnamed(own: dict[str, object]) -> None:
    everything = {"needed": 1, "approvers": ["ada"], "break_glass": True}
    found = Approvals.model_validate({**everything, "procedures": {"deploy": own}}).policy_for("deploy")
    assert found.model_dump(exclude={"open_hours", "frozen"}) == {**everything, **own}


def test_the_way_back_to_what_worked_is_asked_about_only_when_it_is_named() -> None:
    assert STRICT.policy_for("roll-back-deploy").needed == 0
    named = Approvals.model_validate({"needed": 1, "procedures": {"roll-back-deploy": {"needed": 2}}})
    assert named.policy_for("roll-back-deploy").needed == 2
    other = Approvals.model_validate({"needed": 1, "procedures": {"roll-back-deploy": {"open_hours": 1}}})
    assert other.policy_for("roll-back-deploy").needed == 0


@pytest.mark.parametrize("procedure", sorted(NEVER_ASKED))
def test_what_never_waits_cannot_be_made_to(procedure: str) -> None:
    assert STRICT.policy_for(procedure).needed == 0
    with pytest.raises(ValidationError, match=f"{procedure}: never waits for an approval"):
        Approvals.model_validate({"procedures": {procedure: {"needed": 1}}})


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        ({"time_zone": "Europe/Atlantis"}, "must be a time zone of the IANA database"),
        ({"needed": -1}, "greater than or equal to 0"),
        ({"needed": 11}, "less than or equal to 10"),
        ({"open_hours": 0}, "greater than or equal to 0.01"),
        ({"approvers": ["ada lovelace"]}, "should match pattern"),
        ({"procedures": {"deploy": {"neeeded": 2}}}, "Extra inputs are not permitted"),
        ({"procedures": {"Deploy": {"needed": 2}}}, "should match pattern"),
    ],
)
def test_a_policy_that_cannot_be_meant_is_refused(policy: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Approvals.model_validate(policy)


def test_times_are_told_in_the_zone() -> None:
    assert (Approvals().zone, Approvals(time_zone="Europe/Berlin").zone) == (ZoneInfo("UTC"), ZoneInfo("Europe/Berlin"))


def test_in_a_freeze_only_breaking_the_glass_is_left() -> None:
    freeze = {"begins": NOW - DAY, "ends": NOW + DAY, "reason": "the sale"}
    frozen = Approvals.model_validate({"needed": 2, "freezes": [freeze], "procedures": {"deploy": {"needed": 0}}})
    for procedure, needed in (("restore-and-verify", 2), ("deploy", 1)):
        policy = frozen.policy_for(procedure, NOW)
        assert (policy.needed, policy.frozen) == (needed, "frozen until 2026-11-22T12:00:00+00:00: the sale")
    assert frozen.policy_for("deploy", NOW + DAY).needed == 0
    assert not frozen.policy_for("restore-and-verify", NOW + DAY).frozen
    for never in ("roll-back-deploy", "recover", "back-up-database"):
        assert frozen.policy_for(never, NOW) == Approvals(needed=0).policy_for(never, NOW)
