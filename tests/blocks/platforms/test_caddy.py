"""What a Caddy says that another hand has configured, or that is none. The rest is in test_docker.py, on a real one."""

from collections.abc import Iterator

import pytest

from blocks.errors import RefusedByPlatform, Unreachable
from blocks.platforms.caddy import CaddyRoute, Routing
from tests.tasks.small_service import SmallService, status

HANDLE = "GET /id/shop/handle"


@pytest.fixture
def service() -> Iterator[SmallService]:
    with SmallService({}) as service:
        yield service


@pytest.fixture
def caddy(service: SmallService) -> CaddyRoute:
    return CaddyRoute(url=service.url, route="shop")


@pytest.mark.parametrize(
    "handlers",
    [
        None,
        [{"handler": "reverse_proxy", "dynamic_upstreams": {"source": "a", "name": "shop"}}],
        [{"handler": "subroute"}, {"handler": "subroute", "routes": [{"match": []}]}, {}],
        [{"handler": "subroute", "routes": [{"handle": [{"handler": "file_server"}]}]}],
        [{"handler": "static_response", "status_code": 404}],
    ],
)
def test_a_route_that_another_hand_wrote_has_no_shares(
    service: SmallService, caddy: CaddyRoute, handlers: object
) -> None:
    service.answers[HANDLE] = status(200, handlers)
    assert caddy.read(5) == Routing({}, "", frozenset())


@pytest.mark.parametrize("told", [b"<html>", {"handler": "reverse_proxy"}, ["reverse_proxy"], 3])
def test_what_is_no_caddy_is_unreachable(service: SmallService, caddy: CaddyRoute, told: object) -> None:
    service.answers[HANDLE] = service.answers["GET /reverse_proxy/upstreams"] = status(200, told)
    for ask in (caddy.read, caddy.count_requests):
        with pytest.raises(Unreachable, match="not Caddy at"):
            ask(5)


def test_one_that_nothing_has_gone_to_yet_counts_nothing(service: SmallService, caddy: CaddyRoute) -> None:
    service.answers["GET /reverse_proxy/upstreams"] = status(200, None)
    assert caddy.count_requests(5) == {}


def test_a_route_that_is_not_there_is_told_with_what_to_do(service: SmallService, caddy: CaddyRoute) -> None:
    service.answers[HANDLE] = status(404, {"error": "unknown object ID 'shop'"})
    with pytest.raises(RefusedByPlatform, match="'shop'; give the service's route that @id"):
        caddy.read(5)
    service.answers[HANDLE] = status(502, b"bad gateway")
    with pytest.raises(Unreachable, match="failed with status 502"):
        caddy.read(5)
