"""The deploys of a service that runs on another platform, killed before and after whatever crosses a boundary.

On a Docker engine, and on Vercel, Railway and Cloud Run, whose parts stand-ins take.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import pytest

from blocks.platforms.caddy import CaddyRoute
from blocks.platforms.cloud_run_service import MAINTENANCE
from blocks.platforms.interface import Capability
from tests.blocks.platforms.engine import ROUTE, admit_to_caddy, require_engine
from tests.blocks.platforms.waiting import eventually
from tests.blocks.stores.faults import FaultProxy, running_proxy
from tests.drills.choosing import PLACES
from tests.drills.cloud_run_log import CloudRunLog
from tests.drills.docker_log import DockerLog
from tests.drills.killing import Drill
from tests.drills.moments import Place, every_moment
from tests.drills.outcome import Log, Practice
from tests.drills.railway_log import RailwayLog
from tests.drills.tally import Tally
from tests.drills.vercel_log import VercelLog
from tests.flows import docked, hosted, railed
from tests.flows.docked import docked_shop
from tests.flows.elsewhere import BACKED_UP, Elsewhere
from tests.flows.environments import QUICK
from tests.flows.hosted import hosted_shop
from tests.flows.on_cloud_run import OnCloudRun, shop_on_cloud_run
from tests.flows.production import GOOD, Production
from tests.flows.railed import railed_shop
from tests.running_stack import RunningStack

BETTER, BROKEN, WITH_MIGRATION = "v1.1.0", "v1.6.0", "v2.0.0"

pytestmark = [pytest.mark.drill, pytest.mark.timeout(3600)]


class Watched(NamedTuple):
    name: str
    environment: str
    place: Elsewhere
    log: Log
    begin_log: Callable[[], None]
    """Of the traffic as it is now."""
    proxies: Mapping[Place, FaultProxy]


@pytest.fixture(scope="module")
def on_docker(
    shared_stack: RunningStack, shared_production: Production, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    require_engine()
    shared_production.reset()
    ledger, folder = shared_stack.surroundings["BACKSTOP_LEDGER_URL"], tmp_path_factory.mktemp("docked")
    with docked_shop(shared_production, [GOOD, BETTER, BROKEN], folder) as shop:
        platform = shop.platform
        with running_proxy(platform.engine) as engine, running_proxy(platform.caddy.url) as caddy:
            admit_to_caddy(platform.caddy.url, caddy.endpoint)
            address, route = engine.endpoint.replace("http", "tcp"), CaddyRoute(url=caddy.endpoint, route=ROUTE)
            shop.apply(platform.model_copy(update={"engine": address, "caddy": route}))
            log = DockerLog(ledger, docked.ENVIRONMENT, engine, caddy)
            proxies: Mapping[Place, FaultProxy] = {"platform": engine, "proxy": caddy}
            yield Watched("on docker", docked.ENVIRONMENT, shop, log, lambda: log.begin(shop.shares()), proxies)


@pytest.fixture(scope="module")
def on_vercel(
    shared_stack: RunningStack, shared_production: Production, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    shared_production.reset()
    ledger, folder = shared_stack.surroundings["BACKSTOP_LEDGER_URL"], tmp_path_factory.mktemp("hosted")
    with hosted_shop(shared_production, GOOD, folder) as shop, running_proxy(shop.vercel.url) as proxy:
        shop.apply(shop.platform.model_copy(update={"url": proxy.endpoint}))
        log = VercelLog(ledger, hosted.ENVIRONMENT, proxy, shop.vercel)
        traffic = shop.platform.read_traffic
        yield Watched("on Vercel", hosted.ENVIRONMENT, shop, log, lambda: log.begin(traffic()), {"platform": proxy})
    shared_production.reset()


@pytest.fixture(scope="module")
def on_vercel_in_stages(
    shared_stack: RunningStack, shared_production: Production, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    shared_production.reset()
    ledger, folder = shared_stack.surroundings["BACKSTOP_LEDGER_URL"], tmp_path_factory.mktemp("hosted-in-stages")
    stages, name = [25, 50, 100], f"{hosted.ENVIRONMENT}-in-stages"
    with (
        hosted_shop(shared_production, GOOD, folder) as all_at_once,
        all_at_once.in_stages(stages) as shop,
        running_proxy(shop.vercel.url) as proxy,
    ):
        platform, rollout = shop.platform.model_copy(update={"url": proxy.endpoint}), {"steps": stages}
        shop.apply(platform, name, **{**QUICK, "rollout": {**QUICK["rollout"], **rollout}})
        log = VercelLog(ledger, name, proxy, shop.vercel)
        traffic = shop.platform.read_traffic
        yield Watched("on Vercel in stages", name, shop, log, lambda: log.begin(traffic()), {"platform": proxy})
    shared_production.reset()


@pytest.fixture(scope="module")
def on_railway(
    shared_stack: RunningStack, shared_production: Production, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    shared_production.reset()
    ledger, folder = shared_stack.surroundings["BACKSTOP_LEDGER_URL"], tmp_path_factory.mktemp("railed")
    with railed_shop(shared_production, GOOD, folder) as shop, running_proxy(shop.railway.url) as proxy:
        shop.apply(shop.platform.model_copy(update={"url": proxy.endpoint}))
        log = RailwayLog(ledger, railed.ENVIRONMENT, proxy, shop.railway)
        good = {shared_production.commit(GOOD): 100}
        better = {shared_production.commit(BETTER): 100}

        def begin() -> None:
            log.begin(good if shop.versions_with_traffic() == {GOOD} else better)

        yield Watched("on Railway", railed.ENVIRONMENT, shop, log, begin, {"platform": proxy})
    shared_production.reset()


@pytest.fixture(scope="module")
def on_cloud_run(
    shared_stack: RunningStack, shared_production: Production, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    shared_production.reset()
    ledger, folder = shared_stack.surroundings["BACKSTOP_LEDGER_URL"], tmp_path_factory.mktemp("on_cloud_run")
    with shop_on_cloud_run(shared_production, GOOD, folder) as shop, running_proxy(shop.cloud_run.url) as proxy:
        shop.apply(shop.platform.model_copy(update={"url": proxy.endpoint}), **BACKED_UP)
        log = CloudRunLog(ledger, shop.environment, proxy)
        traffic = shop.platform.read_traffic
        yield Watched("on Cloud Run", shop.environment, shop, log, lambda: log.begin(traffic()), {"platform": proxy})
    shared_production.reset()


@pytest.fixture(params=["on_docker", "on_vercel", "on_vercel_in_stages", "on_railway", "on_cloud_run"])
def watched(request: pytest.FixtureRequest) -> Watched:
    found: Watched = request.getfixturevalue(request.param)
    return found


def deploy(watched: Watched) -> Practice:
    place = watched.place
    stops = Capability.STOP in place.platform.capabilities

    def prepare() -> object:
        place.run_alone(GOOD)
        watched.begin_log()
        return look()

    def look() -> object:
        return place.platform.read_traffic(), place.running() if stops else (), place.production.tags()

    return Practice(
        name=f"deploy, {watched.name}",
        procedure="deploy",
        environment=watched.environment,
        parameters={"version": BETTER},
        prepare=prepare,
        look=look,
        is_done=lambda: place.versions_with_traffic() == {BETTER},
        log=watched.log,
        proxies=watched.proxies,
    )


def deploy_of_a_broken_release(watched: Watched) -> Practice:
    """Its own way back is killed, too."""
    return deploy(watched)._replace(
        name=f"deploy of a broken release, {watched.name}",
        parameters={"version": BROKEN},
        is_done=lambda: False,
        ending="Rolled back",
    )


def roll_back_deploy(watched: Watched) -> Practice:
    begun, place = deploy(watched), watched.place

    def prepare() -> object:
        begun.prepare()
        place.platform.shift_traffic({place.start(BETTER).id: 100})
        watched.begin_log()
        return begun.look()

    return begun._replace(
        name=f"roll-back-deploy, {watched.name}",
        procedure="roll-back-deploy",
        parameters={"to": GOOD},
        prepare=prepare,
        is_done=lambda: place.versions_with_traffic() == {GOOD},
    )


def migrate_with_writes_stopped(watched: Watched) -> Practice:
    """On Cloud Run, where visitors are kept out by its scaling."""
    place, production = watched.place, watched.place.production
    assert isinstance(place, OnCloudRun)
    scaling = {"minInstanceCount": 1, "maxInstanceCount": 5}

    def prepare() -> object:
        place.run_alone(GOOD)
        place.cloud_run.spec["scaling"] = scaling
        with production.connect() as connection:
            connection.execute("ALTER TABLE tasks DROP COLUMN IF EXISTS due_on")
            connection.execute("UPDATE alembic_version SET version_num = '0001' WHERE version_num <> '0001'")
        return look()

    def look() -> tuple[object, object, dict[str, str], bool]:
        eventually(lambda: production.answering_version() == GOOD)
        spec = place.cloud_run.spec
        return place.platform.read_traffic(), spec["scaling"], spec["annotations"], production.has_due_dates()

    def is_done() -> bool:
        _, now, annotations, is_migrated = look()
        return is_migrated and now == scaling and MAINTENANCE not in annotations

    return Practice(
        name=f"migrate-with-backup, writes stopped, {watched.name}",
        procedure="migrate-with-backup",
        environment=watched.environment,
        parameters={"version": WITH_MIGRATION, "stop_writes": "yes"},
        prepare=prepare,
        look=look,
        is_done=is_done,
        proxies=watched.proxies,
    )


@pytest.fixture(scope="module")
def proven_backup(shared_stack: RunningStack, on_cloud_run: Watched) -> None:
    for procedure in ("back-up-database", "verify-backup"):
        made = shared_stack.run_procedure(procedure, on_cloud_run.environment)
        assert made["ending"] == "Done", made["message"]


@pytest.mark.usefixtures("proven_backup")
def test_a_migration_that_keeps_visitors_out(drill: Drill, on_cloud_run: Watched, tally: Tally) -> None:
    killed = migrate_with_writes_stopped(on_cloud_run)
    for moment in every_moment(drill.read_crossed(killed), *PLACES):
        with tally.trying(killed.name, "flow", moment) as survived:
            survived(drill.kill(killed, moment))


@pytest.mark.parametrize("practice", [deploy, deploy_of_a_broken_release, roll_back_deploy])
def test_at_every_moment(drill: Drill, watched: Watched, tally: Tally, practice: Callable[[Watched], Practice]) -> None:
    killed = practice(watched)
    for moment in every_moment(drill.read_crossed(killed), *PLACES):
        with tally.trying(killed.name, "flow", moment) as survived:
            survived(drill.kill(killed, moment))
