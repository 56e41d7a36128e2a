"""The requests of a Cloud Run revision, as Google's Cloud Monitoring has counted them.

https://cloud.google.com/monitoring/api/metrics_gcp_p_z#gcp-run
"""

import time
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from typing import Any, Literal

from pydantic import BaseModel, Field, NonNegativeInt

from blocks.errors import Unreachable
from blocks.google_access import GoogleAccess
from blocks.metrics.interface import Metrics, Sample
from blocks.platforms.interface import Release
from blocks.reference import Address, Secret
from blocks.vendor_api import VendorApi

_GRAIN = timedelta(seconds=60)
"""Google samples each revision once in this time, and aggregates over no less."""


class _Exponential(BaseModel):
    numFiniteBuckets: int
    growthFactor: float
    scale: float

    def bounds(self) -> list[float]:
        return [self.scale * self.growthFactor**number for number in range(self.numFiniteBuckets + 1)]


class _Linear(BaseModel):
    numFiniteBuckets: int
    width: float
    offset: float

    def bounds(self) -> list[float]:
        return [self.offset + self.width * number for number in range(self.numFiniteBuckets + 1)]


class _Explicit(BaseModel):
    bounds_: list[float] = Field(alias="bounds")

    def bounds(self) -> list[float]:
        return self.bounds_


class _Buckets(BaseModel):
    exponentialBuckets: _Exponential | None = None
    linearBuckets: _Linear | None = None
    explicitBuckets: _Explicit | None = None

    def bounds(self) -> list[float]:
        """The upper bound of each bucket but the last, which has none."""
        given = self.exponentialBuckets or self.linearBuckets or self.explicitBuckets
        return given.bounds() if given else []


class _Distribution(BaseModel):
    """Of milliseconds."""

    bucketOptions: _Buckets
    bucketCounts: list[NonNegativeInt] = []
    """Those at the end that are zero may be left out."""

    def slower(self) -> dict[float, float]:
        """Seconds → how many took longer."""
        total, at_or_below, slower = sum(self.bucketCounts), 0, {}
        for bound, count in zip(self.bucketOptions.bounds(), chain(self.bucketCounts, repeat(0)), strict=False):
            at_or_below += count
            slower[bound / 1000] = float(total - at_or_below)
        return slower


class _Value(BaseModel):
    int64Value: NonNegativeInt | None = None
    distributionValue: _Distribution | None = None


class _Point(BaseModel):
    value: _Value


class _Metric(BaseModel):
    labels: dict[str, str] = {}


class _Series(BaseModel):
    metric: _Metric = _Metric()
    points: tuple[_Point]
    """One: all of the time is asked for as one piece."""

    @property
    def value(self) -> _Value:
        return self.points[0].value


class CloudMonitoring(Metrics):
    """Google shows the requests of a minute some minutes later, of each metric at its own time. What is read ends
    `delay_seconds` ago at a full minute, when all of it is there: so errors, durations and the control's are of the
    same requests.
    """

    _block_type_name = "Cloud Monitoring"
    _block_type_slug = "cloud-monitoring"
    _description = "Asks Google's Cloud Monitoring for the requests of a Cloud Run revision."

    kind: Literal["cloud-monitoring"] = Field(
        "cloud-monitoring", description="Where they are read: a saved block is read again as what it was."
    )
    project: str = Field(pattern=r"^[a-z][a-z0-9.:-]{4,99}$", description="Id of the Google Cloud project.")
    region: str = Field(pattern=r"^[a-z0-9-]{1,40}$", description="Region of the service, as europe-west1.")
    service: str = Field(pattern=r"^[a-z][a-z0-9-]{0,62}$", description="Name of the Cloud Run service.")
    credentials: Secret = Field(
        description="Reference to the JSON key of a service account that may view monitoring data."
    )
    delay_seconds: int = Field(
        240, ge=60, le=3600, description="How long Google may take to show what happened; what is newer is not read."
    )
    url: Address = Field("https://monitoring.googleapis.com", description="Address of the API.")
    timeout: float = Field(10, gt=0, le=60, description="Seconds that one question may take.")

    @property
    def late_seconds(self) -> float:
        """A request, the minute that it is counted in, and the time until that minute is read."""
        return self.delay_seconds + 2 * _GRAIN.total_seconds()

    def read_sample(self, release: Release) -> Sample:
        began, ends = _minute(release.created_at), _minute(datetime.now(UTC) - timedelta(seconds=self.delay_seconds))
        if ends <= began:
            raise Unreachable(
                f"Cloud Monitoring shows nothing of {release.id} yet.",
                f"It is younger than what Google may take to show it, {self.delay_seconds} s.",
            )
        within = {
            "interval.startTime": began.isoformat(),
            "interval.endTime": ends.isoformat(),
            "aggregation.alignmentPeriod": f"{(ends - began).total_seconds():.0f}s",
        }
        by_class = self._read_requests(release, within)
        return Sample(
            at=time.monotonic(),
            requests=sum(by_class.values()),
            errors=by_class.get("5xx", 0),
            slower=self._read_durations(release, within).slower(),
        )

    def _read_requests(self, release: Release, within: dict[str, str]) -> dict[str, int]:
        """`2xx`, `5xx` … → how many were answered so."""
        label = "response_code_class"
        found = self._ask("request_count", release, {**within, "aggregation.groupByFields": f"metric.labels.{label}"})
        counts = {one.metric.labels.get(label, ""): one.value.int64Value for one in found}
        if "" in counts or None in counts.values():
            raise Unreachable(
                f"Cloud Monitoring's request_count of {release.id} comes without {label}, or without a number.",
                "No error can be told from an answer.",
            )
        return {name: count for name, count in counts.items() if count is not None}

    def _read_durations(self, release: Release, within: dict[str, str]) -> _Distribution:
        (found,) = self._ask("request_latencies", release, within)
        if not found.value.distributionValue:
            raise Unreachable(f"Cloud Monitoring's request_latencies of {release.id} are no distribution.")
        return found.value.distributionValue

    def _ask(self, metric: str, release: Release, how: dict[str, str]) -> list[_Series]:
        """Sums; never none, as no data is not zero."""
        wanted = {
            "metric.type": f"run.googleapis.com/{metric}",
            "resource.type": "cloud_run_revision",
            "resource.labels.location": self.region,
            "resource.labels.service_name": self.service,
            "resource.labels.revision_name": release.id.rpartition("/")[2],
        }
        asked = {
            "filter": " AND ".join(f'{name} = "{value}"' for name, value in wanted.items()),
            "view": "FULL",
            "aggregation.perSeriesAligner": "ALIGN_SUM",
            "aggregation.crossSeriesReducer": "REDUCE_SUM",
            **how,
        }
        answer = self._api.call("GET", f"/v3/projects/{self.project}/timeSeries", params=asked)
        told = self._api.parsed(dict[str, Any], answer)
        if partial := [name for name in ("executionErrors", "unreachable", "nextPageToken") if told.get(name)]:
            raise Unreachable(
                f"Cloud Monitoring answers only in part ({', '.join(partial)}).", "Part of the data is not zero."
            )
        if not told.get("timeSeries"):
            raise Unreachable(
                f"Cloud Monitoring has no {metric} of {wanted['resource.labels.revision_name']} in {self.service}.",
                "No data is not zero: look whether visitors came, and at project, region and service.",
            )
        return self._api.shaped(list[_Series], told["timeSeries"])

    @property
    def _api(self) -> VendorApi:
        return VendorApi(
            named="Cloud Monitoring",
            url=self.url,
            token=GoogleAccess(self.credentials, self.timeout, refusal=Unreachable),
            seconds=self.timeout,
            look="Look whether it is reached from here, and at Google's status page.",
            unauthorized="Give the service account the role roles/monitoring.viewer in the project.",
            read_reason=lambda refusal: refusal["error"]["message"],
            refusal=Unreachable,
        )


def _minute(moment: datetime) -> datetime:
    """It began with. All revisions' numbers then change in the same look."""
    return moment.astimezone(UTC).replace(second=0, microsecond=0)
