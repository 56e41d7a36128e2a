"""Mixing a new release into a split: every sum is 100, and those before keep their proportion. And whose a split is."""

import random
from itertools import product

import pytest

from blocks.platforms.interface import Split
from blocks.platforms.sandbox import SandboxPlatform
from blocks.platforms.vercel import VercelPlatform
from tasks.ledger import Run
from tasks.traffic import TrafficBefore, is_explained, mix_in
from tests.tasks.small_service import SmallService, status


def splits_of_two() -> list[Split]:
    return [{"a": share, "b": 100 - share} for share in range(1, 100)]


def random_splits(count: int) -> list[Split]:
    chance = random.Random(7)
    splits = []
    for _ in range(count):
        cuts = sorted(chance.sample(range(1, 100), chance.randint(0, 8)))
        shares = [end - begin for begin, end in zip([0, *cuts], [*cuts, 100], strict=True)]
        splits.append({f"release-{number}": share for number, share in enumerate(shares)})
    return splits


@pytest.mark.parametrize("new", ["new", "a"])
def test_every_split_of_two_at_every_percent(new: str) -> None:
    for before, percent in product(splits_of_two(), range(101)):
        check(before, new, percent)


def test_splits_of_up_to_nine() -> None:
    for before, percent in product(random_splits(300), range(0, 101, 3)):
        check(before, "new", percent)
        check(before, "release-0", percent)


def check(before: Split, new: str, percent: int) -> None:
    split = mix_in(before, new, percent)
    others = {id: share for id, share in before.items() if id != new}
    told = f"{before} with {percent} % of {new} became {split}"
    assert sum(split.values()) == 100, told
    assert all(share > 0 for share in split.values()), told
    assert split.get(new, 0) == (percent if others else 100), told
    assert set(split) <= {*before, new}, told
    rest, total = sum(split.get(id, 0) for id in others), sum(others.values())
    for id, share in others.items():
        assert abs(split.get(id, 0) - share * rest / total) < len(others), told


def test_nobody_had_traffic() -> None:
    for percent in (1, 10, 50, 100):
        assert mix_in({}, "new", percent) == {"new": 100}


def test_all_steps_of_a_rollout_from_the_same_before() -> None:
    before = {"old": 100}
    assert [mix_in(before, "new", percent) for percent in (10, 50, 100)] == [
        {"old": 90, "new": 10},
        {"old": 50, "new": 50},
        {"new": 100},
    ]
    assert before == {"old": 100}


@pytest.mark.parametrize(
    ("split", "explained"),
    [
        pytest.param({"old": 90, "new": 10}, True, id="the first stage"),
        pytest.param({"old": 50, "new": 50}, False, id="another stage"),
        pytest.param({"old": 90, "other": 10}, False, id="of another release"),
    ],
)
def test_on_the_way_to_all_traffic_a_run_may_die_in_the_first_stage(
    run: Run, monkeypatch: pytest.MonkeyPatch, split: Split, explained: bool
) -> None:
    monkeypatch.setenv("TOKEN", "token")
    run.record("effect intended", effect="shift traffic", split={"new": 100}, **{"for": run.id})
    before = TrafficBefore(run_id=run.id, version="v1.1.0", split={"old": 100}, known=["old"])
    stages = [{"targetPercentage": percent, "requireApproval": True} for percent in (10, 50, 100)]
    project = {"id": "prj", "name": "shop", "rollingRelease": {"target": "production", "stages": stages}}
    with SmallService({"GET /v9/projects/shop": status(200, project)}) as vercel:
        at = {"project": "shop", "repository": "example/shop", "token": "${TOKEN}", "url": vercel.url}
        rolling = VercelPlatform.model_validate({**at, "rolling": True})
        assert is_explained(rolling, split, before) is explained
    nobody = SandboxPlatform(url="http://127.0.0.1:1", token="${TOKEN}")
    assert not is_explained(nobody, split, before)
