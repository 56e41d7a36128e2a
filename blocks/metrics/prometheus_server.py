"""The counters of a release as a Prometheus server has scraped them: of all its processes, added up."""

import math
import time
from typing import Any, Literal

from pydantic import BaseModel, Field

from blocks.errors import Unreachable
from blocks.metrics.interface import Metrics, Sample
from blocks.platforms.interface import Release
from blocks.reference import Address, Secret
from blocks.vendor_api import VendorApi

_NAME = r"^[a-zA-Z_:][a-zA-Z0-9_:]*$"
_LABEL = r"^[a-zA-Z_][a-zA-Z0-9_]*$"


class _Series(BaseModel):
    metric: dict[str, str]
    value: tuple[float, float]
    """When, in seconds since 1970, and how much."""

    @property
    def count(self) -> float:
        return self.value[1]


class PrometheusServer(Metrics):
    """For releases of several processes, and for those that show no counters at an address of their own.

    Its numbers are as old as its last scrape: let it scrape at least as often as a step of a rollout is looked at.
    """

    _block_type_name = "Prometheus server"
    _block_type_slug = "prometheus-server"
    _description = "Asks a Prometheus server for the counters of a release."

    kind: Literal["server"] = Field(
        "server", description="Where they are read: a saved block is read again as what it was."
    )
    url: Address = Field(description="Address of the server, as http://prometheus:9090.")
    token: Secret | None = Field(None, description="Reference to a bearer token, where the server wants one.")
    release_label: str = Field(
        "version", pattern=_LABEL, description="Label of the series that tells the releases apart."
    )
    release_is: Literal["version", "id", "commit"] = Field("version", description="What of a release that label holds.")
    requests: str = Field("http_requests_total", pattern=_NAME, description="Counter of requests.")
    status_label: str = Field("status", pattern=_LABEL, description="Its label with the HTTP status, as 503 or as 5xx.")
    latency: str = Field(
        "http_request_duration_seconds",
        pattern=f"^$|{_NAME}",
        description="Histogram of durations in seconds; empty when the service has none.",
    )
    path_label: str = Field("path", pattern=_LABEL, description="Label with the request's path, on both.")
    ignored_paths: list[str] = Field(
        default=["/health", "/metrics"],
        description="Paths that no visitor asks for: left out, or they would water the error rate down.",
    )
    timeout: float = Field(2.0, gt=0, le=60, description="Seconds that one question may take.")

    def read_sample(self, release: Release) -> Sample:
        answered = self._ask(f"sum by ({self.status_label}) ({self.requests}{{{self._of(release)}}})")
        if not answered and not self._ask(f"count({self.requests})"):
            raise Unreachable(
                f"The Prometheus server has no series '{self.requests}'.", "No data is not zero: check its name."
            )
        if any(self.status_label not in one.metric for one in answered):
            raise Unreachable(
                f"The series '{self.requests}' has no label '{self.status_label}'.",
                "Without it no error can be told from an answer: check the label's name.",
            )
        if not answered and not self._ask(f"up{{{self._is(release)}}} == 1"):
            raise Unreachable(
                f"The Prometheus server scrapes nothing whose label '{self.release_label}' is that of {release.id}.",
                "No data is not zero: look at the server's targets, and at the label's name.",
            )
        return Sample(
            at=time.monotonic(),
            requests=sum(one.count for one in answered),
            errors=sum(one.count for one in answered if one.metric[self.status_label].startswith("5")),
            slower=self._slower(release) if self.latency and answered else {},
        )

    def _slower(self, release: Release) -> dict[float, float]:
        """Bound → requests above it. A histogram's buckets count those at or below."""
        buckets = self._ask(f"sum by (le) ({self.latency}_bucket{{{self._of(release)}}})")
        if not buckets:
            raise Unreachable(
                f"The Prometheus server has no series '{self.latency}_bucket' of {release.id}.",
                "No data is not zero: check its name.",
            )
        at_or_below = {_bound(one.metric.get("le", "")): one.count for one in buckets}
        total = at_or_below.pop(math.inf, 0)
        return {bound: max(0.0, total - count) for bound, count in sorted(at_or_below.items())}

    def _is(self, release: Release) -> str:
        return f"{self.release_label}={_quoted(str(getattr(release, self.release_is)))}"

    def _of(self, release: Release) -> str:
        """Its visitors' requests."""
        ignored = [f"{self.path_label}!={_quoted(path)}" for path in self.ignored_paths]
        return ", ".join([self._is(release), *ignored])

    def _ask(self, query: str) -> list[_Series]:
        answer = self._api.call("GET", "/api/v1/query", params={"query": query, "timeout": f"{self.timeout:g}s"})
        if warnings := self._api.parsed(dict[str, Any], answer).get("warnings"):
            raise Unreachable(
                f"The Prometheus server answers only in part: {str(warnings[0])[:200]}.",
                "Part of the data is not zero.",
            )
        found = self._api.parsed(list[_Series], answer, "data", "result")
        if odd := [one.count for one in found if not (math.isfinite(one.count) and one.count >= 0)]:
            raise Unreachable(f"The Prometheus server says {odd[0]}, which no counter can be.")
        return found

    @property
    def _api(self) -> VendorApi:
        return VendorApi(
            named=f"The Prometheus server at {self.url}",
            url=self.url,
            token=self.token,
            seconds=self.timeout,
            look="Look whether it runs and its address is right.",
            unauthorized="Set the token reference to one that may ask it.",
            read_reason=lambda refusal: refusal["error"],
            refusal=Unreachable,
        )


def _quoted(text: str) -> str:
    """As a string of its query language."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _bound(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Unreachable(f"A histogram has a bucket bound '{text[:20]}', which is no number.") from None
