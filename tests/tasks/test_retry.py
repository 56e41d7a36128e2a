"""A way back waits for what is away, for so long; a "no" is taken at once."""

import pytest

from blocks.errors import BackstopError, RefusedByPlatform, Unreachable
from tasks.retry import wait_out


class Step:
    """Fails with each of these, then does not."""

    def __init__(self, left: list[BackstopError]) -> None:
        self._left = left

    def __call__(self) -> str:
        if self._left:
            raise self._left.pop(0)
        return "done"


AWAY, NO = Unreachable("It does not answer."), RefusedByPlatform("It refused.")


def test_it_is_repeated_until_it_is_answered() -> None:
    assert wait_out(Step([AWAY]), seconds=30) == "done"


def test_it_is_given_up_when_the_time_is_over() -> None:
    with pytest.raises(Unreachable):
        wait_out(Step([AWAY, AWAY]), seconds=0)


def test_a_no_is_not_asked_for_again() -> None:
    with pytest.raises(RefusedByPlatform):
        wait_out(Step([NO]), seconds=30)
