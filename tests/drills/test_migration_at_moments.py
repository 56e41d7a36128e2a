"""A good migration with stopped writes, killed at moments between its writes into the ledger, as other procedures are.

`test_migration_killed.py` kills at the effects of migrations that fail in many ways.
"""

from collections.abc import Iterator

import pytest

from tests.drills.choosing import some
from tests.drills.killing import Drill
from tests.drills.migrating import TIDY, prepare
from tests.drills.moments import every_moment
from tests.drills.outcome import Practice
from tests.drills.practices import migrate_with_backup
from tests.drills.tally import Tally
from tests.drills.undoing import roll_back_migration
from tests.flows.migrations import Migrations
from tests.flows.shop_database import ShopDatabase
from tests.running_stack import RunningStack

pytestmark = [pytest.mark.drill, pytest.mark.timeout(3600)]

MANY = 30
"""One takes half a minute: each is rehearsed on a copy."""


@pytest.fixture(scope="module")
def migrations(shared_stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Migrations:
    shared_stack.run("up")
    return prepare(shared_stack, tmp_path_factory.mktemp("migrations"))


@pytest.fixture
def practice(shop: ShopDatabase, migrations: Migrations) -> Iterator[Practice]:
    yield migrate_with_backup(shop, migrations)
    shop.ask(TIDY)


def test_the_schema_is_as_before_or_new_and_nothing_is_lost(drill: Drill, practice: Practice, tally: Tally) -> None:
    for moment in some(every_moment(drill.read_crossed(practice)), MANY, practice.name):
        with tally.trying(practice.name, "flow", moment) as survived:
            survived(drill.kill(practice, moment))


def test_a_way_back_that_somebody_started_is_finished(
    drill: Drill, shop: ShopDatabase, migrations: Migrations, tally: Tally
) -> None:
    practice = roll_back_migration(shop, migrations)
    for moment in every_moment(drill.read_crossed(practice)):
        with tally.trying(practice.name, "flow", moment) as survived:
            survived(drill.kill(practice, moment))
    shop.ask(TIDY)
