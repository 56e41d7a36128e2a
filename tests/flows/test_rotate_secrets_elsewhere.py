"""Secrets are rotated on platforms that start no release again: one of before gets the new ones by being made anew."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager

import httpx
import pytest
import yaml

from tests.flows.elsewhere import Elsewhere
from tests.flows.environments import PRODUCTION
from tests.flows.hosted import hosted_shop
from tests.flows.on_cloud_run import OnCloudRun, shop_on_cloud_run
from tests.flows.production import GOOD, Production
from tests.flows.railed import railed_shop
from tests.flows.records import Records
from tests.running_stack import RunningStack

BETTER = "v1.1.0"
SESSION = "SHOP_SESSION_SECRET"
SECRETS = {"Vercel": "session", "Railway": "database,session", "Cloud Run": "database,session"}
"""Vercel's stand-in ends no instance, and whatever lost its traffic keeps the old login to the database open."""
SHOPS = {"Vercel": hosted_shop, "Railway": railed_shop, "Cloud Run": shop_on_cloud_run}

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(
    scope="module",
    params=["Vercel", *(pytest.param(name, marks=pytest.mark.drill) for name in ("Railway", "Cloud Run"))],
)
def shop(
    request: pytest.FixtureRequest, shared_production: Production, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Elsewhere]:
    shared_production.reset()
    opened: AbstractContextManager[Elsewhere] = SHOPS[request.param](
        shared_production, GOOD, tmp_path_factory.mktemp("elsewhere")
    )
    with opened as shop:
        if isinstance(shop, OnCloudRun):
            shop.cloud_run.misbehaviour.idle_seconds = 1
        for release in shared_production.running() - shared_production.traffic().keys():
            shared_production.platform.stop_release(release)  # production's own, which has the login, too
        shop.apply(shop.platform)
        yield shop
        shared_production.platform.set_variables(shop.platform.read_variables())
    shared_production.run_alone(shared_production.start(GOOD).id)  # with the secrets of now
    shared_production.reset()


def test_the_next_release_has_the_new_one_and_so_has_one_of_before_that_is_returned_to(
    stack: RunningStack,
    shared_production: Production,
    shop: Elsewhere,
    records: Records,
    request: pytest.FixtureRequest,
) -> None:
    secrets = SECRETS[request.node.callspec.params["shop"]]
    (good,), began = shop.platform.read_traffic(), time.time()
    deployed = stack.run_procedure("deploy", shop.environment, version=BETTER)
    assert deployed["ending"] == "Done", deployed["message"]
    old = shop.platform.read_variables()[SESSION]

    rotated = stack.run_procedure("rotate-secrets", shop.environment, secrets=secrets)

    assert rotated["ending"] == "Done", rotated["message"]
    new = shop.platform.read_variables()[SESSION]
    assert new.split(",")[1] == old.split(",")[0]
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


@pytest.mark.parametrize("shop", ["Vercel"], indirect=True)
def test_where_a_release_without_traffic_keeps_the_old_login_open_all_is_put_back(
    stack: RunningStack, shared_production: Production, shop: Elsewhere, records: Records
) -> None:
    before, traffic, began = shop.platform.read_variables(), shop.platform.read_traffic(), time.time()
    secrets = {**yaml.safe_load(PRODUCTION.read_text())["secrets"], "leave_seconds": 3}
    shop.apply(shop.platform, secrets=secrets)

    result = stack.run_procedure("rotate-secrets", shop.environment, secrets="database")

    assert (result["ending"], result["exit_code"]) == ("Rolled back", 3), result["message"]
    assert "the old one is in use still after 3 s" in result["message"]
    assert shop.platform.read_variables() == before
    assert shop.platform.read_traffic() == traffic
    assert shared_production.unplanned_failures(began) == []
    assert records.open_rotations() == []
    records.assert_settled(shop.environment)
