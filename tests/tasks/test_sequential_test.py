import random

from tasks.sequential_test import SequentialTest

ALLOWED = 0.01


def looks_until_proven(share: float, looks: int, seed: int, false_alarm: float = 0.001) -> int | None:
    """Ten requests a look, two looks a second, as real traffic brings them."""
    chance, test = random.Random(seed), SequentialTest(false_alarm, shortest_spell=1.0)
    for look in range(1, looks + 1):
        test.weigh(sum(chance.random() < share for _ in range(10)), 10, ALLOWED, 0.5)
        if test.proven:
            return look
    return None


def test_looking_all_the_time_raises_no_more_false_alarms_than_allowed() -> None:
    # At exactly the limit, looked at 400 times: at most 5 % of 600 may alarm. The bound is
    # five standard deviations above that, so only a wrong test can fail here.
    alarms = sum(looks_until_proven(ALLOWED, 400, seed, false_alarm=0.05) is not None for seed in range(600))
    assert alarms <= 30 + 5 * 5.4


def test_a_fifth_failing_is_proven_within_three_seconds() -> None:
    looks = sorted(looks_until_proven(0.2, 200, seed) or 200 for seed in range(101))
    assert looks[50] <= 6


def test_two_percent_are_proven_where_one_is_allowed() -> None:
    proven = [looks_until_proven(0.02, 2000, seed) is not None for seed in range(10)]
    assert all(proven)


def test_a_failure_after_a_good_hour_is_proven_in_seconds() -> None:
    test = SequentialTest(0.001, shortest_spell=1.0)
    for _ in range(7200):
        test.weigh(0, 10, ALLOWED, 0.5)
    looks = 0
    while not test.proven:
        test.weigh(2, 10, ALLOWED, 0.5)
        looks += 1
    assert looks <= 10


def test_more_bad_requests_are_never_less_suspicious() -> None:
    def progress(bad: int) -> float:
        test = SequentialTest(0.001, shortest_spell=1.0)
        for _ in range(3):
            test.weigh(bad, 20, ALLOWED, 0.5)
        return test.progress

    steps = [progress(bad) for bad in range(21)]
    assert steps == sorted(steps)
    assert steps[0] < steps[-1] == 1


def test_what_is_allowed_counts() -> None:
    def proven(allowed: float) -> bool:
        test = SequentialTest(0.001, shortest_spell=1.0)
        for _ in range(20):
            test.weigh(3, 10, allowed, 0.5)
        return test.proven

    assert proven(0.01)
    assert not proven(0.3)
    assert not proven(1.0)


def test_one_moment_alone_proves_nothing() -> None:
    test = SequentialTest(0.001, shortest_spell=1.0)
    test.weigh(1000, 1000, ALLOWED, 0.5)
    assert not test.proven
    for _ in range(3):
        test.weigh(1000, 1000, ALLOWED, 0.5)
    assert test.proven


def test_no_requests_are_no_evidence() -> None:
    test = SequentialTest(0.001, shortest_spell=1.0)
    before = test.progress
    test.weigh(0, 0, ALLOWED, 0.5)
    assert test.progress == before
