"""What approvers are told of a rotation, and of one after a breach."""

from tasks.rotation_plan import PlannedSecret, RotationPlan
from tasks.rotation_question import question_of, question_of_rollback
from tasks.traffic import TrafficBefore

SECRET = PlannedSecret(
    name="database",
    kind="postgres-role",
    effect="whoever uses it is refused",
    interrupted=["the release", "the nightly job"],
    sinks=["the platform's variables", "a file"],
    age="3.0 days",
    fingerprint="0",
)


def plan(emergency: bool) -> RotationPlan:
    traffic = TrafficBefore(run_id="run-1", version="", split={"v1-0-0-1": 100}, known=["v1-0-0-1"])
    return RotationPlan(environment="shop", emergency=emergency, secrets=[SECRET], traffic=traffic, prerequisites=[])


def test_one_after_a_breach_says_whom_it_interrupts_and_that_nothing_comes_back() -> None:
    asked = question_of(plan(emergency=True))
    assert asked.title == "Rotate database of shop after a breach"
    told = [effect.what for effect in asked.effects]
    assert told[0] == "database: has the old one refused at once; whoever uses it is refused"
    assert told[1:3] == ["database: interrupts the release", "database: interrupts the nightly job"]
    undos = {effect.undo for effect in asked.effects}
    assert not any("old one again" in undo or "of before" in undo for undo in undos), undos


def test_versions_that_are_disabled_are_decided_upon() -> None:
    kept = SECRET.model_copy(update={"versions": {"Secret Manager": {"URL": [1, 2]}}})
    effects = question_of(plan(emergency=False).model_copy(update={"secrets": [kept]})).effects
    told = {effect.what: effect.undo for effect in effects}
    assert told["database: disables its refused versions of Secret Manager"] == "enabled again"


def test_a_plan_for_a_breach_is_another_plan() -> None:
    assert plan(emergency=True).fingerprint != plan(emergency=False).fingerprint
    assert [effect.undo for effect in question_of(plan(emergency=False)).effects] == [
        "the old one again",
        "the releases of before",
        "accepted again",
    ]


def test_whoever_starts_the_way_back_is_told_where_it_leads() -> None:
    back, forward = question_of_rollback("shop", emergency=False), question_of_rollback("shop", emergency=True)
    assert "writes the old values" in back.effects[0].what
    assert "writes new ones" in forward.effects[0].what
    assert back.fingerprint != forward.fingerprint
