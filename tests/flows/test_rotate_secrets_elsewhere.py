"""Secrets are rotated on platforms that start no release again: one of before gets the new ones by being made anew."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager

import httpx
import pytest

from tests.flows.elsewhere import Elsewhere
from tests.flows.hosted import hosted_shop
from tests.flows.on_cloud_run import shop_on_cloud_run
from tests.flows.production import GOOD, Production
from tests.flows.railed import railed_shop
from tests.flows.records import Records
from tests.running_stack import RunningStack

BETTER = "v1.1.0"
SESSION = "SHOP_SESSION_SECRET"
SHOPS = {"Vercel": hosted_shop, "Railway": railed_shop, "Cloud Run": shop_on_cloud_run}

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module", params=SHOPS)
def shop(
    request: pytest.FixtureRequest, shared_production: Production, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Elsewhere]:
    shared_production.reset()
    opened: AbstractContextManager[Elsewhere] = SHOPS[request.param](
        shared_production, GOOD, tmp_path_factory.mktemp("elsewhere")
    )
    with opened as shop:
        shop.apply(shop.platform)
        yield shop
    shared_production.run_alone(shared_production.start(GOOD).id)  # with the secrets of now
    shared_production.reset()


def test_the_next_release_has_the_new_one_and_so_has_one_of_before_that_is_returned_to(
    stack: RunningStack, shared_production: Production, shop: Elsewhere, records: Records
) -> None:
    (good,), began = shop.platform.read_traffic(), time.time()
    deployed = stack.run_procedure("deploy", shop.environment, version=BETTER)
    assert deployed["ending"] == "Done", deployed["message"]
    old = shop.platform.read_variables()[SESSION]

    rotated = stack.run_procedure("rotate-secrets", shop.environment, secrets="session")

    assert rotated["ending"] == "Done", rotated["message"]
    new = shop.platform.read_variables()[SESSION]
    assert new.split(",")[1:] == [old]
    assert shop.versions_with_traffic() == {BETTER}
    in_use = reported(shop)

    back = stack.run_procedure("roll-back-deploy", shop.environment, to=GOOD)

    assert back["ending"] == "Done", back["message"]
    (release,) = shop.platform.read_traffic()
    assert (shop.read(release).version, shop.read(release).started_by) == (GOOD, back["run"])
    assert release != good
    assert reported(shop) == in_use
    assert shared_production.answering_version() == GOOD
    assert shared_production.unplanned_failures(began) == []
    assert records.open_rotations() == []
    records.assert_settled(shop.environment)


def reported(shop: Elsewhere) -> object:
    """By which session key the service that users reach can be told."""
    return httpx.get(f"{shop.url}/health/detailed", timeout=5, trust_env=False).json()["secrets"]["session"]
