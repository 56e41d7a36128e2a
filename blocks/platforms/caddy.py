"""The Caddy in front of a service, as its administration API shows it: where one route's requests go."""

from math import gcd
from typing import Any, NamedTuple

import httpx
from pydantic import BaseModel, Field

from blocks.errors import RefusedByPlatform, Unreachable
from blocks.reference import Address, resolve
from blocks.trust import trusted_certificates

MAINTENANCE = "X-Backstop-Maintenance"
_LOOK = "Look whether Caddy runs, and whether its administration API is at the address that the environment names."
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


class CaddyRoute(BaseModel):
    """One route of a Caddy, which bears an `@id`. Its `handle` is written by Backstop, its `match` is not.

    Caddy keeps what it was told last and starts with it again (`caddy run --resume`).
    """

    url: Address = Field("http://127.0.0.1:2019", description="Address of Caddy's administration API.")
    route: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,60}$", description="The `@id` of the service's route.")

    def read(self, seconds: float) -> Routing:
        return _parsed(self._call("GET", f"/id/{self.route}/handle", seconds).json())

    def write(self, routing: Routing, seconds: float) -> None:
        """In force when it returns; requests under way finish where they are."""
        self._call("PATCH", f"/id/{self.route}/handle", seconds, json=_handlers(routing))

    def count_requests(self, seconds: float) -> dict[str, int]:
        """`host:port` → requests that are under way there."""
        upstreams = self._call("GET", "/reverse_proxy/upstreams", seconds).json()
        return {str(one["address"]): int(one["num_requests"]) for one in upstreams}

    def _call(self, method: str, path: str, seconds: float, **content: Any) -> httpx.Response:
        address = resolve(self.url).rstrip("/")
        try:
            with httpx.Client(timeout=seconds, verify=trusted_certificates(), trust_env=False) as client:
                answer = client.request(method, address + path, **content)
        except httpx.TimeoutException:
            raise Unreachable(f"{self._named} did not answer within {seconds:g} s.", _LOOK) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(f"{self._named} cannot be reached ({type(error).__name__}).", _LOOK) from None
        if answer.status_code == httpx.codes.NOT_FOUND:
            raise RefusedByPlatform(
                f"{self._named} has no route with the @id '{self.route}'.",
                "Give the service's route that @id in Caddy's configuration. Nothing was changed.",
            )
        if not answer.is_success:
            raise RefusedByPlatform(f"{self._named} refused: {_reason(answer)}.", "Caddy goes on as before.")
        return answer

    @property
    def _named(self) -> str:
        return f"Caddy at {self.url}"


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
    for handler in handlers or []:
        match handler.get("handler"):
            case "static_response":
                maintenance = (handler.get("headers", {}).get(MAINTENANCE) or [""])[0]
            case "reverse_proxy":
                for upstream in handler["upstreams"]:
                    shares[upstream["dial"]] = shares.get(upstream["dial"], 0) + 1
            case "subroute":
                proxies = [one for route in handler["routes"] for one in route["handle"]]
                leaving |= {upstream["dial"] for one in proxies for upstream in one.get("upstreams", [])}
    return Routing(shares, maintenance, frozenset(leaving))


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])[:300]
    except (ValueError, LookupError, TypeError):
        return f"status {answer.status_code}"
