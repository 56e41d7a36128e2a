"""A secret that GitHub's workflows have, too: it is new in both places, or the old one in both."""

from collections.abc import Iterator

import pytest

from tests.flows.in_actions import ENVIRONMENT, InActions, secret_in_actions
from tests.flows.interface import Interface
from tests.flows.production import Production
from tests.flows.records import Records
from tests.running_stack import RunningStack
from tests.secret_search import find_in_files
from tests.standins.github_actions import TOKEN

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def shared_in_actions(shared_production: Production, tmp_path_factory: pytest.TempPathFactory) -> Iterator[InActions]:
    shared_production.reset()
    with secret_in_actions(shared_production, tmp_path_factory.mktemp("in-actions")) as in_actions:
        yield in_actions


@pytest.fixture
def in_actions(production: Production, shared_in_actions: InActions) -> InActions:
    shared_in_actions.reset()
    return shared_in_actions


def test_both_have_the_new_one_and_nothing_was_written_down(
    in_actions: InActions, records: Records, interface: Interface
) -> None:
    old = in_actions.agreed_value()

    result = in_actions.rotate()

    assert result["ending"] == "Done", result["message"]
    new = in_actions.agreed_value()
    assert new != old
    assert in_actions.github.repository.written == [new]
    plan = interface.artifacts(result["run"])["plan"]
    assert "**Cannot be read back:** the Actions secrets of example/shop" in plan
    assert records.open_rotations() == []
    records.assert_settled(ENVIRONMENT)
    hidden = {"GitHub's token": TOKEN, "the old value": old, "the new value": new}
    found = find_in_files(hidden, in_actions.production.stack.state.folder)
    assert {line.partition(": ")[0] for line in found} == {"sandbox/shop-production/state.json"}, "the platform's own"


def test_where_no_release_starts_with_it_both_have_the_old_one_again(in_actions: InActions, records: Records) -> None:
    old, platform = in_actions.agreed_value(), in_actions.production.platform
    good = platform.read_variables()
    platform.set_variables({**good, "SHOP_WEBHOOK_SECRET": ""})
    try:
        result = in_actions.rotate()
        assert (result["ending"], result["exit_code"]) == ("Rolled back", 3), result["message"]
        assert in_actions.agreed_value() == old
        new, back = in_actions.github.repository.written
        assert new != old == back, "it had arrived"
    finally:
        platform.set_variables(good)
    assert records.open_rotations() == []
    records.assert_settled(ENVIRONMENT)


def test_a_token_that_has_expired_is_told_before_anything_is_changed(
    in_actions: InActions, records: Records, stack: RunningStack
) -> None:
    in_actions.github.expired = True
    try:
        result = in_actions.rotate()
    finally:
        in_actions.github.expired = False
    assert result["ending"] == "Refused"
    assert "Bad credentials" in result["message"]
    assert records.effects(result["run"]) == []
