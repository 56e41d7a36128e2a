"""The Caddy in front of a service, as its administration API shows it: where one route's requests go."""

from math import gcd
from typing import Any, NamedTuple

import httpx
from pydantic import BaseModel, ConfigDict, Field

from blocks.reference import Address
from blocks.vendor_api import VendorApi

MAINTENANCE = "X-Backstop-Maintenance"
_RETRY_AFTER_SECONDS = 30
_TRY_SECONDS = 5
"""How long a request waits for an upstream that takes no connection; it may go to another one meanwhile."""

_HTTP_1 = {"vars": {"{http.request.proto}": ["HTTP/1.0", "HTTP/1.1"]}, "not": [{"header": {"Upgrade": ["*"]}}]}
_CLOSE = {"handler": "headers", "response": {"set": {"Connection": ["close"]}}}
_LAST_ON_ITS_CONNECTION: dict[str, Any] = {
    "handler": "subroute",
    "routes": [{"match": [_HTTP_1], "handle": [_CLOSE]}],
}
"""With every change Caddy closes the connections that are idle, and with them a request that is just arriving on one.
HTTP/1 cannot tell a visitor that it was not looked at; HTTP/2 can (RFC 9113, section 6.8)."""


class Routing(NamedTuple):
    """What Caddy does with the requests of a route."""

    shares: dict[str, int]
    """`host:port` → share of the requests; the shares are proportions and have no unit."""
    maintenance: str
    """On whose behalf visitors get 503; empty when they are served."""
    leaving: frozenset[str]
    """`host:port` that get no new request. Caddy counts what is under way there for as long as it knows them."""


class _Upstream(BaseModel):
    address: str
    num_requests: int


class CaddyRoute(BaseModel):
    """One route of a Caddy, which bears an `@id`. Its `handle` is written by Backstop, its `match` is not.

    Caddy keeps what it was told last and starts with it again (`caddy run --resume`).
    """

    model_config = ConfigDict(extra="forbid")

    url: Address = Field("http://127.0.0.1:2019", description="Address of Caddy's administration API.")
    route: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,60}$", description="The `@id` of the service's route.")

    def read(self, seconds: float) -> Routing:
        """Raises RefusedByPlatform where Caddy has no such route, Unreachable."""
        api = self._api(seconds)
        handlers = api.parsed(object, api.call("GET", self._path))
        return _parsed(api.shaped(list[dict[str, Any]], handlers or []))

    def write(self, routing: Routing, seconds: float) -> None:
        """In force when it returns; requests under way finish where they are."""
        self._api(seconds).call("PATCH", self._path, json=_handlers(routing))

    def count_requests(self, seconds: float) -> dict[str, int]:
        """`host:port` → requests that are under way there."""
        api = self._api(seconds)
        found = api.parsed(object, api.call("GET", "/reverse_proxy/upstreams"))
        return {one.address: one.num_requests for one in api.shaped(list[_Upstream], found or [])}

    @property
    def _path(self) -> str:
        return f"/id/{self.route}/handle"

    def _api(self, seconds: float) -> VendorApi:
        return VendorApi(
            named=f"Caddy at {self.url}",
            url=self.url,
            token=None,
            seconds=seconds,
            look="Look whether Caddy runs, and whether its administration API is at the environment's address for it.",
            unauthorized="Let the worker's machine use its administration API. Caddy goes on as before.",
            read_reason=_read_reason,
        )


def _handlers(routing: Routing) -> list[dict[str, Any]]:
    refusal = {
        "handler": "static_response",
        "status_code": httpx.codes.SERVICE_UNAVAILABLE.value,
        "headers": {"Retry-After": [str(_RETRY_AFTER_SECONDS)], MAINTENANCE: [routing.maintenance]},
    }
    proxy = {
        **_proxy(_in_turns(routing.shares)),
        "load_balancing": {
            "selection_policy": {"policy": "round_robin"},
            "try_duration": f"{_TRY_SECONDS}s",
            "try_interval": "100ms",
        },
    }
    nobody = {"match": [{"expression": "false"}], "handle": [_proxy(sorted(routing.leaving))]}
    leaving = {"handler": "subroute", "routes": [nobody]}
    return [
        _LAST_ON_ITS_CONNECTION,
        *([leaving] if routing.leaving else []),
        *([refusal] if routing.maintenance else []),
        proxy,
    ]


def _proxy(addresses: list[str]) -> dict[str, Any]:
    return {"handler": "reverse_proxy", "upstreams": [{"dial": address} for address in addresses]}


def _in_turns(shares: dict[str, int]) -> list[str]:
    """Each address as often as its share, spread evenly: 1 and 9 is every tenth, not one and then nine.

    Weights of its own Caddy has only since 2.8.
    """
    if not shares:
        return []
    divisor = gcd(*shares.values())
    weights = {address: share // divisor for address, share in shares.items()}
    places = [((turn + 0.5) / weight, address) for address, weight in weights.items() for turn in range(weight)]
    return [address for _, address in sorted(places)]


def _parsed(handlers: list[dict[str, Any]]) -> Routing:
    """A route that another hand wrote has no shares that would be known here."""
    maintenance, shares, leaving = "", dict[str, int](), set[str]()
    for handler in handlers:
        match handler.get("handler"):
            case "static_response":
                maintenance = (handler.get("headers", {}).get(MAINTENANCE) or [""])[0]
            case "reverse_proxy":
                for address in _read_dials(handler):
                    shares[address] = shares.get(address, 0) + 1
            case "subroute":
                proxies = [one for route in handler.get("routes", []) for one in route.get("handle", [])]
                leaving.update(*map(_read_dials, proxies))
    return Routing(shares, maintenance, frozenset(leaving))


def _read_dials(handler: dict[str, Any]) -> list[str]:
    """None of upstreams that Caddy finds itself, by a name or a socket."""
    return [str(one["dial"]) for one in handler.get("upstreams") or [] if "dial" in one]


def _read_reason(refusal: dict[str, str]) -> str:
    told = refusal["error"]
    unknown = "unknown object ID" in told
    return f"{told}; give the service's route that @id in Caddy's configuration" if unknown else told
