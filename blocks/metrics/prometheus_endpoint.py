"""The counters that a release shows under its own address, in the text format of Prometheus."""

import math
import time
from collections.abc import Iterable
from typing import Literal

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample as Series
from pydantic import Field

from blocks.bounded_get import bounded_get
from blocks.errors import Unreachable
from blocks.metrics.interface import Metrics, Sample
from blocks.platforms.interface import Release

MOST_BYTES = 5_000_000


class PrometheusEndpoint(Metrics):
    """One process a release, or one address that adds its processes up: behind a balancer
    each look would meet another process, and its counters would seem to start anew.
    """

    _block_type_name = "Prometheus endpoint"
    _block_type_slug = "prometheus-endpoint"
    _description = "Reads a release's own /metrics page."

    kind: Literal["endpoint"] = Field(
        "endpoint", description="Where they are read: a saved block is read again as what it was."
    )
    path: str = Field(default="/metrics", pattern=r"^/\S*$", description="Where the release shows its counters.")
    requests: str = Field(default="http_requests_total", min_length=1, description="Counter of requests.")
    status_label: str = Field(
        default="status", min_length=1, description="Its label with the HTTP status, as 503 or as 5xx."
    )
    latency: str = Field(
        default="http_request_duration_seconds",
        description="Histogram of durations in seconds; empty when the service has none.",
    )
    path_label: str = Field(default="path", description="Label with the request's path, on both.")
    ignored_paths: list[str] = Field(
        default=["/health", "/metrics"],
        description="Paths that no visitor asks for: left out, or they would water the error rate down.",
    )
    timeout: float = Field(default=2.0, gt=0, le=60, description="Seconds that one read may take.")

    def read_sample(self, release: Release) -> Sample:
        families = self._read_families(release)
        return Sample(
            at=time.monotonic(),
            requests=sum(series.value for series in self._requests(families)),
            errors=sum(series.value for series in self._requests(families) if self._is_error(series)),
            slower=self._slower(families) if self.latency else {},
        )

    def _read_families(self, release: Release) -> list[Metric]:
        if release.url is None:
            raise Unreachable(f"Release {release.id} has no address to read metrics from.")
        url = release.url.rstrip("/") + self.path
        answer = bounded_get(url, self.timeout, MOST_BYTES)
        if answer.status != 200:
            raise Unreachable(f"{url} answers {answer.status} instead of metrics.")
        # Only the lines that matter: parsing five megabytes would take longer than the timeout.
        names = (self.requests.removesuffix("_total"), self.latency or self.requests)
        lines = [line for line in answer.body.decode(errors="replace").split("\n") if any(n in line for n in names)]
        try:
            return list(text_string_to_metric_families("\n".join(lines) + "\n"))
        except (ValueError, KeyError, IndexError) as error:
            raise Unreachable(f"{url} answers something that is not metrics: {str(error)[:100]}.") from error

    def _requests(self, families: list[Metric]) -> list[Series]:
        return self._visitors(self._series(families, self.requests, {self.requests.removesuffix("_total")}))

    def _slower(self, families: list[Metric]) -> dict[float, float]:
        """Bound → requests above it. A histogram's buckets count those at or below."""
        at_or_below: dict[float, float] = {}
        for series in self._visitors(self._series(families, f"{self.latency}_bucket", {self.latency})):
            bound = _number(series.labels.get("le", ""), series.name)
            at_or_below[bound] = at_or_below.get(bound, 0) + series.value
        total = at_or_below.pop(math.inf, 0)
        return {bound: max(0.0, total - count) for bound, count in sorted(at_or_below.items())}

    def _series(self, families: list[Metric], name: str, family_names: set[str]) -> list[Series]:
        """A family without children has served nothing, which is zero; a missing one is not."""
        known = [family for family in families if family.name in family_names | {name}]
        series = [one for family in known for one in family.samples if one.name == name]
        if not series and (not known or any(family.samples for family in known)):
            raise Unreachable(f"The release's metrics have no series '{name}'.", "No data is not zero: check its name.")
        for one in series:
            if not (math.isfinite(one.value) and one.value >= 0):
                raise Unreachable(f"The release's metrics say {name} = {one.value}, which no counter can be.")
        return series

    def _visitors(self, series: Iterable[Series]) -> list[Series]:
        return [one for one in series if one.labels.get(self.path_label) not in self.ignored_paths]

    def _is_error(self, series: Series) -> bool:
        if self.status_label not in series.labels:
            raise Unreachable(
                f"The series '{self.requests}' has no label '{self.status_label}'.",
                "Without it no error can be told from an answer: check the label's name.",
            )
        return series.labels[self.status_label].startswith("5")


def _number(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Unreachable(f"The series '{name}' has a bucket bound '{text[:20]}', which is no number.") from None
