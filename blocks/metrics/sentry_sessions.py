"""How many sessions of a release crashed, as Sentry has counted them (release health).

https://docs.sentry.io/api/releases/retrieve-release-health-session-statistics/
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import BaseModel, Field, NonNegativeFloat

from blocks.errors import Unreachable
from blocks.metrics.interface import Metrics, Sample
from blocks.platforms.interface import Release
from blocks.reference import Address, Secret
from blocks.vendor_api import VendorApi

_SLUG = r"^[A-Za-z0-9_-]{1,100}$"
_SUM, _STATUS = "sum(session)", "session.status"
_BY_DAY_AFTER = timedelta(days=60)
"""An answer holds 10,000 points at the most, an hour each until then."""


class _Group(BaseModel):
    by: dict[str, str | int]
    totals: dict[str, NonNegativeFloat | None]


class SentrySessions(Metrics):
    """A session is what the application's SDK makes one of: a request of a server, a visit of a browser.

    Durations are no longer recorded there, so slowness is not judged.
    """

    _block_type_name = "Sentry sessions"
    _block_type_slug = "sentry-sessions"
    _description = "Asks Sentry how many sessions of a release crashed."

    kind: Literal["sentry"] = Field(
        "sentry", description="Where they are read: a saved block is read again as what it was."
    )
    organization: str = Field(pattern=_SLUG, description="Slug of the organization.")
    project: str = Field(pattern=_SLUG, description="Slug or id of the project.")
    sentry_environment: str = Field(
        "production", pattern=r"^[^\s/]{1,64}$", description="What the application's SDK calls its environment."
    )
    release: str = Field(
        "{version}",
        pattern=r"^[^\s\"\\{}]*\{(version|id|commit)\}[^\s\"\\{}]*$",
        description="What the SDK calls a release, by its version, id or commit: as shop@{version}.",
    )
    token: Secret = Field(description="Reference to a token that may read the organization (org:read).")
    delay_seconds: int = Field(
        180, ge=10, le=3600, description="How long the SDK and Sentry may take to show what happened."
    )
    url: Address = Field("https://us.sentry.io", description="Address of Sentry, of the region that has the data.")
    timeout: float = Field(10, gt=0, le=60, description="Seconds that one question may take.")

    @property
    def late_seconds(self) -> float:
        return self.delay_seconds

    def read_sample(self, release: Release) -> Sample:
        name = self.release.format(version=release.version, id=release.id, commit=release.commit)
        by_status: dict[str, float] = {}
        for group in self._read_groups(name, release.created_at.astimezone(UTC)):
            status = str(group.by.get(_STATUS, ""))
            by_status[status] = by_status.get(status, 0) + (group.totals.get(_SUM) or 0)
        if "" in by_status:
            raise Unreachable("Sentry's sessions come without a status.", "No crash can be told from a good one.")
        sessions = sum(by_status.values())
        if not sessions:
            raise Unreachable(
                f"Sentry has no session of release {name} in {self.sentry_environment}.",
                "No data is not zero: look what the SDK calls release and environment, and whether it sends sessions.",
            )
        return Sample(at=time.monotonic(), requests=sessions, errors=by_status.get("crashed", 0), slower={})

    def _read_groups(self, release: str, since: datetime) -> list[_Group]:
        now = datetime.now(UTC)
        asked = {
            "field": _SUM,
            "groupBy": _STATUS,
            "project": self.project,
            "environment": self.sentry_environment,
            "query": f'release:"{release}"',
            "start": f"{since:%FT%TZ}",
            "end": f"{now:%FT%TZ}",
            "interval": "1h" if now - since < _BY_DAY_AFTER else "1d",
        }
        answer = self._api.call("GET", f"/api/0/organizations/{self.organization}/sessions/", params=asked)
        return self._api.parsed(list[_Group], answer, "groups")

    @property
    def _api(self) -> VendorApi:
        return VendorApi(
            named="Sentry",
            url=self.url,
            token=self.token,
            seconds=self.timeout,
            look="Look whether it is reached from here, and at its status page.",
            unauthorized="Set the token's reference to one that may read the organization (org:read).",
            read_reason=lambda refusal: refusal["detail"],
            refusal=Unreachable,
        )
