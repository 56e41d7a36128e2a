"""A stand-in for Google's Cloud Monitoring: points of a minute each, summed as `timeSeries.list` is asked to."""

import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from starlette.requests import Request

from tests.standins.discovery import Discovery
from tests.standins.google_token import GoogleTokens
from tests.standins.standing_in import Act, Answer, Refusal, StandIn, served

PROJECT, REGION, SERVICE = "shop-project", "europe-west1", "shop"
_MINUTE = timedelta(minutes=1)
_BUCKETS = {"exponentialBuckets": {"numFiniteBuckets": 12, "growthFactor": 2, "scale": 1}}
"""Their upper bounds: 1, 2, 4 … 4096 ms."""


class _Point(NamedTuple):
    ends: datetime
    metric: str
    revision: str
    code_class: str
    milliseconds: list[float]


class CloudMonitoringStandIn(StandIn):
    def __init__(self, tokens: GoogleTokens, description: Discovery) -> None:
        super().__init__(description)
        self.partial: dict[str, Any] = {}
        """What an answer says beside the series."""
        self._tokens = tokens
        self._points: list[_Point] = []

    def count(self, revision: str, ends: datetime, code_class: str, milliseconds: list[float]) -> None:
        """The requests of the minute that ends then."""
        for metric in ("request_count", "request_latencies"):
            self._points.append(_Point(ends, f"run.googleapis.com/{metric}", revision, code_class, milliseconds))

    def forget(self, metric: str) -> None:
        self._points = [one for one in self._points if not one.metric.endswith(metric)]

    def routes(self) -> list[tuple[str, str, Act]]:
        return [("GET", f"/v3/projects/{PROJECT}/timeSeries", self._list)]

    def _list(self, request: Request, asked: Any) -> Answer:
        if not self._tokens.lets_in(request.headers.get("Authorization")):
            raise Refusal(401, {"error": {"code": 401, "message": "no access", "status": "UNAUTHENTICATED"}})
        query = request.query_params
        wanted = dict(re.findall(r'([\w.]+) = "([^"]*)"', query["filter"]))
        began, ends = (datetime.fromisoformat(query[f"interval.{end}Time"]) for end in ("start", "end"))
        if query["aggregation.alignmentPeriod"] != f"{(ends - began).total_seconds():.0f}s" or ends - began < _MINUTE:
            raise Refusal(400, {"error": {"code": 400, "message": "bad period", "status": "INVALID_ARGUMENT"}})
        about = ("cloud_run_revision", REGION, SERVICE)
        names = ("resource.type", "resource.labels.location", "resource.labels.service_name")
        found = [
            one
            for one in self._points
            if one.metric == wanted["metric.type"]
            and one.revision == wanted["resource.labels.revision_name"]
            and tuple(wanted[name] for name in names) == about
            and began < one.ends <= ends
        ]
        groups: dict[str, list[float]] = defaultdict(list)
        for one in found:
            by_class = query.get("aggregation.groupByFields") == "metric.labels.response_code_class"
            groups[one.code_class if by_class else ""] += one.milliseconds
        interval = {"startTime": _told(began), "endTime": _told(ends)}
        series = [_series(wanted["metric.type"], name, values, interval) for name, values in sorted(groups.items())]
        return 200, {**({"timeSeries": series} if series else {}), "unit": "1", **self.partial}


def _series(metric: str, code_class: str, milliseconds: list[float], interval: dict[str, str]) -> dict[str, Any]:
    is_count = metric.endswith("request_count")
    value = {"int64Value": str(len(milliseconds))} if is_count else {"distributionValue": _distribution(milliseconds)}
    labels = {"labels": {"response_code_class": code_class}} if code_class else {}
    return {
        "metric": {"type": metric, **labels},
        "resource": {"type": "cloud_run_revision", "labels": {"project_id": PROJECT}},
        "metricKind": "DELTA",
        "valueType": "INT64" if is_count else "DISTRIBUTION",
        "points": [{"interval": interval, "value": value}],
    }


def _distribution(milliseconds: list[float]) -> dict[str, Any]:
    bounds = [2.0**number for number in range(13)]
    counts = [0] * 14
    for one in milliseconds:
        counts[sum(bound <= one for bound in bounds)] += 1
    while counts[-1] == 0:
        counts.pop()  # as Google does
    return {
        "count": str(len(milliseconds)),
        "mean": sum(milliseconds) / len(milliseconds),
        "bucketOptions": _BUCKETS,
        "bucketCounts": [str(count) for count in counts],
    }


def _told(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


@contextmanager
def running_cloud_monitoring(tokens: GoogleTokens, description: Discovery) -> Iterator[CloudMonitoringStandIn]:
    with served(standing_in := CloudMonitoringStandIn(tokens, description)):
        yield standing_in
    assert standing_in.violations == []
