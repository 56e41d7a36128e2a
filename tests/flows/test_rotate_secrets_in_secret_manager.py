"""A secret that others read from Google's Secret Manager: its refused versions are given to nobody, or all is back."""

from collections.abc import Iterator

import pytest

from tests.flows.in_secret_manager import ENVIRONMENT, InSecretManager, secret_in_secret_manager
from tests.flows.interface import Interface
from tests.flows.production import Production
from tests.flows.records import Records
from tests.secret_search import find_in_files
from tests.standins.google_token import TOKEN_MARK

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def shared_in_secret_manager(
    shared_production: Production, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[InSecretManager]:
    shared_production.reset()
    folder = tmp_path_factory.mktemp("in-secret-manager")
    with secret_in_secret_manager(shared_production, folder) as in_secret_manager:
        yield in_secret_manager


@pytest.fixture
def in_secret_manager(production: Production, shared_in_secret_manager: InSecretManager) -> InSecretManager:
    shared_in_secret_manager.reset()
    return shared_in_secret_manager


@pytest.mark.drill
def test_both_have_the_new_one_and_only_that_can_be_asked_for(
    in_secret_manager: InSecretManager, records: Records, interface: Interface
) -> None:
    old = in_secret_manager.agreed_value()

    result = in_secret_manager.rotate()

    assert result["ending"] == "Done", result["message"]
    new = in_secret_manager.agreed_value()
    assert new != old
    assert in_secret_manager.kept.changes == ["add 3", "disable 1", "disable 2"]
    plan = interface.artifacts(result["run"])["plan"]
    assert "**Versions:** the secrets shop-production-… of shop-project" in plan
    assert "job: versions that can be asked for | ✓ | 2 of NIGHT\\_TOKEN" in plan
    assert records.open_rotations() == []
    records.assert_settled(ENVIRONMENT)
    hidden = {"a token of Google's": TOKEN_MARK, "the old value": old, "the new value": new}
    found = find_in_files(hidden, in_secret_manager.production.stack.state.folder)
    assert {line.partition(": ")[0] for line in found} == {"sandbox/shop-production/state.json"}, "the platform's own"


def test_where_one_cannot_be_disabled_both_have_the_old_one_again(
    in_secret_manager: InSecretManager, records: Records
) -> None:
    old, kept = in_secret_manager.agreed_value(), in_secret_manager.kept
    in_secret_manager.google.kept_enabled = {2}

    result = in_secret_manager.rotate()

    assert (result["ending"], result["exit_code"]) == ("Rolled back", 3), result["message"]
    assert "secretmanager.versions.disable" in result["message"]
    assert in_secret_manager.agreed_value() == old
    assert kept.changes == ["add 3", "disable 1", "add 4", "enable 1", "enable 2"]
    assert kept.enabled() == [1, 2, 3, 4]
    assert records.open_rotations() == []
    records.assert_settled(ENVIRONMENT)


def test_an_account_that_may_nothing_is_told_before_anything_is_changed(
    in_secret_manager: InSecretManager, records: Records
) -> None:
    in_secret_manager.google.denied = True
    result = in_secret_manager.rotate()
    assert result["ending"] == "Refused"
    assert "Permission denied" in result["message"]
    assert records.effects(result["run"]) == []
    assert in_secret_manager.kept.changes == []
