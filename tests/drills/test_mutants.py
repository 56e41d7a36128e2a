"""Each check of the drills fails for the Backstop that is broken in the way that it is there for."""

from collections.abc import Iterator

import pytest

from tests.drills.conftest import Practices
from tests.drills.forked import Forked
from tests.drills.killing import Drill
from tests.drills.moments import Moment

SHIFTED = Moment("after", what="effect done shift traffic")
ENDING = Moment("before", what="run ended")
STARTING = Moment("before", what="effect intended start release")


@pytest.fixture
def mutant(request: pytest.FixtureRequest, forked: Forked) -> Iterator[None]:
    forked.mutant = request.param
    yield
    forked.mutant = ""


@pytest.mark.usefixtures("mutant")
@pytest.mark.parametrize("mutant", ["skips_arming"], indirect=True)
def test_a_change_whose_undo_was_never_armed_is_seen(drill: Drill, practices: Practices) -> None:
    with pytest.raises(AssertionError, match="not as before"):
        drill.kill(practices["deploy"](), SHIFTED)


@pytest.mark.usefixtures("mutant")
@pytest.mark.parametrize("mutant", ["undoes_twice"], indirect=True)
def test_an_undo_that_was_carried_out_twice_is_seen(drill: Drill, practices: Practices) -> None:
    with pytest.raises(AssertionError, match="traffic given twice"):
        drill.kill(practices["deploy"](), SHIFTED)


@pytest.mark.usefixtures("mutant")
@pytest.mark.parametrize("mutant", ["ignores_the_fence"], indirect=True)
def test_a_run_that_goes_on_after_it_was_taken_over_is_seen(drill: Drill, practices: Practices) -> None:
    with pytest.raises(AssertionError, match="not as before"):
        drill.stop(practices["deploy"](), STARTING)


@pytest.mark.usefixtures("mutant")
@pytest.mark.parametrize("mutant", ["overwrites_its_ending"], indirect=True)
def test_a_second_ending_is_seen(drill: Drill, practices: Practices) -> None:
    with pytest.raises(AssertionError, match="2 endings"):
        drill.stop(practices["deploy"](), STARTING)


@pytest.mark.usefixtures("mutant")
@pytest.mark.parametrize("mutant", ["forgets_an_effect"], indirect=True)
def test_a_change_that_no_effect_stands_for_is_seen(drill: Drill, practices: Practices) -> None:
    with pytest.raises(AssertionError, match="no effect stands for"):
        drill.kill(practices["deploy"](), ENDING)
