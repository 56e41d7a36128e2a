"""Going back to a point in time, killed: the application is on the clone or where it was, and nothing is half-way."""

from collections.abc import Iterator

import pytest

from tests.blocks.stores.faults import FaultProxy
from tests.drills.choosing import PLACES
from tests.drills.killing import Drill
from tests.drills.moments import Moment, every_moment
from tests.drills.outcome import Practice
from tests.drills.practices import back_to_a_point_in_time, through
from tests.drills.tally import Tally
from tests.flows.on_cloud_sql import OnCloudSql, shop_on_cloud_sql
from tests.flows.shop_database import ShopDatabase
from tests.running_stack import RunningStack


@pytest.fixture(scope="module")
def on_cloud_sql(shared_stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnCloudSql]:
    shared_stack.mend()
    with shop_on_cloud_sql(shared_stack, tmp_path_factory.mktemp("cloud-sql")) as on_cloud_sql:
        yield on_cloud_sql


@pytest.fixture(scope="module")
def moment(on_cloud_sql: OnCloudSql) -> str:
    return on_cloud_sql.copies.remember().isoformat()


@pytest.fixture
def practice(shop: ShopDatabase, on_cloud_sql: OnCloudSql, moment: str, staging_platform: FaultProxy) -> Practice:
    return through(staging_platform, back_to_a_point_in_time(shop, on_cloud_sql, moment))


@pytest.mark.drill
def test_with_the_variable_changed(drill: Drill, practice: Practice, tally: Tally) -> None:
    moment = Moment("after", what="effect done switch databases")
    with tally.trying(practice.name, "flow", moment) as survived:
        survived(drill.kill(practice, moment))


@pytest.mark.drill
@pytest.mark.timeout(3600)
def test_at_every_moment(drill: Drill, practice: Practice, tally: Tally) -> None:
    for moment in every_moment(drill.read_crossed(practice), *PLACES):
        with tally.trying(practice.name, "flow", moment) as survived:
            survived(drill.kill(practice, moment))
