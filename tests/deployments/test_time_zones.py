"""Prefect's check of a schedule's time zone reads the machine's time zones once, and still refuses what is none."""

import pytest
from prefect.client.schemas.schedules import CronSchedule
from prefect.types import _datetime
from pydantic import ValidationError

from deployments import time_zones


def test_they_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = []

    def read() -> set[str]:
        readings.append(1)
        return {"America/New_York", "Europe/Amsterdam"}

    monkeypatch.setattr(time_zones, "available_timezones", read)
    monkeypatch.setattr(_datetime, "available_timezones", read)  # so that it is as before in the end
    time_zones.remember_time_zones()

    for zone in ("Europe/Amsterdam", "America/New_York"):
        CronSchedule(cron="0 2 * * *", timezone=zone)
    with pytest.raises(ValidationError, match="Invalid timezone"):
        CronSchedule(cron="0 2 * * *", timezone="Europe/Atlantis")

    assert len(readings) == 1
